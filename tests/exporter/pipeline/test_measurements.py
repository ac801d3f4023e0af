"""The measuring stages: whatever comes of them, the artifact stands, and its manifest says why something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.measure import padding_benefit
from exporter.measure.padding_benefit import no_profit
from exporter.measure.process import WITHOUT
from exporter.pipeline import measurements
from poolfold.errors import CheckFailed
from poolfold.verify import verify
from tests.conftest import export_here


def test_a_measurement_that_fails_leaves_the_artifact_and_its_reason(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise CheckFailed(f"measuring mean fp32 pytorch: no {tmp_path}/weights, in /home/me/models/x. {WITHOUT}")

    monkeypatch.setattr(measurements, "measure_artifact", dies)
    monkeypatch.setattr(measurements, "measure_benefit", dies)
    manifest = export_here(checkpoint, tmp_path / "out", skip_latency=False)
    reason = "measuring mean fp32 pytorch: no weights, in x"
    assert manifest.latency_left_out == {"latency": reason, "padding": reason}
    assert (manifest.latency, {graph.status for graph in manifest.graphs}) == ((), {"validated"})
    assert verify(tmp_path / "out") == manifest
    err = capsys.readouterr().err
    assert err.count("warning: not measured: measuring mean fp32 pytorch") == 2
    assert "The artifact is complete without it" in err


def test_without_any_time_nothing_is_measured_and_the_reason_is_said(checkpoint: Path, tmp_path: Path) -> None:
    left_out = export_here(checkpoint, tmp_path / "out", skip_latency=False, bench_seconds=0).latency_left_out
    assert left_out["latency"] == (
        "all of the time for measuring went by while the systems were loading (--bench-seconds 0)"
    )
    assert left_out["padding"].startswith("mean fp32 on onnxruntime: needs about ")
    assert left_out["padding"].endswith(" s, and 0 s were left of --bench-seconds 0")


def test_what_was_not_asked_for_is_not_missing_without_a_word(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_here(checkpoint, tmp_path / "out", skip_latency=True)
    assert manifest.latency_left_out == dict.fromkeys(("latency", "padding"), "--skip-latency was given")


def test_a_share_that_others_disturbed_is_none(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader keeps its own share then."""
    monkeypatch.setattr(padding_benefit.disturbance, "calm", lambda _: [])
    monkeypatch.setattr(measurements, "measure_latency", lambda draft, *_: draft)
    manifest = export_here(checkpoint, tmp_path / "out", skip_latency=False)
    assert manifest.latency_left_out == {"padding": "mean fp32 on onnxruntime: other programs disturbed it"}
    assert [graph.padding_free.faster_below for graph in manifest.graphs if graph.padding_free] == [{}]


def test_texts_of_one_length_leave_no_padding_to_save(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "measure_latency", lambda draft, *_: draft)
    texts = tuple(f"text {number}" for number in range(10, 74))
    manifest = export_here(checkpoint, tmp_path / "out", skip_latency=False, texts=texts)
    assert manifest.latency_left_out["padding"].startswith("your texts leave no padding to save")


@given(st.lists(st.integers(1, 512), max_size=200))
def test_only_enough_texts_that_fill_every_batch_cannot_profit(lengths: list[int]) -> None:
    ordered = sorted(lengths, reverse=True)
    batches = [ordered[i : i + 32] for i in range(0, len(ordered), 32)]
    full = all(sum(batch) >= 0.97 * len(batch) * batch[0] for batch in batches)
    assert (no_profit(lengths) is not None) == (len(lengths) >= 64 and full)
