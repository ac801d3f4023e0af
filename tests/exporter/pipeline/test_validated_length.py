"""An export proves what it can afford, says so wherever the artifact is shown, and is refused where memory lacks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import exporter
from exporter.commands.cli import run_command
from exporter.host.console import Console
from exporter.parity import proof
from exporter.pipeline import afford
from exporter.spec.options import Validation
from poolfold.errors import InputError
from poolfold.manifest import Manifest, read_manifest
from tests.conftest import export_here
from tests.models import edit_json, tiny_checkpoint

LIMIT = 1000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that takes more tokens than are proven whatever they cost."""
    folder = tmp_path_factory.mktemp("model") / "m"
    return tiny_checkpoint(folder, max_seq_length=LIMIT, config={"max_position_embeddings": LIMIT})


@pytest.fixture(scope="module")
def hub_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Qwen3-Embedding comes: no limit but that of its positions."""
    folder = tmp_path_factory.mktemp("hub") / "m"
    config = {"max_position_embeddings": 32768}
    tiny_checkpoint(folder, architecture="qwen3", pooling="lasttoken", max_seq_length=None, config=config)
    (folder / "sentence_bert_config.json").unlink()
    return folder


class Slow:
    """A clock by which every call takes a minute."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 30
        return self.now


@pytest.fixture(scope="module")
def slow(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a slow machine exports."""
    output = tmp_path_factory.mktemp("slow") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "time", SimpleNamespace(perf_counter=Slow().perf_counter))
        export_here(model, output, validation=Validation())
    return output


def test_a_slow_machine_proves_less_and_the_artifact_says_so_everywhere(
    slow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    manifest = read_manifest(slow)
    assert (manifest.validated_up_to, manifest.model.text.max_seq_length) == (513, LIMIT)
    assert {graph.status for graph in manifest.graphs} == {"validated"}
    assert 32 <= manifest.parity[0].texts < 84
    assert run_command(["inspect", str(slow)]) == 0
    assert f"validated up to 513 of {LIMIT} tokens" in " ".join(capsys.readouterr().out.split())
    assert run_command(["inspect", str(slow), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["validated_up_to"] == 513
    assert run_command(["report", str(slow), "-o", str(tmp_path / "report")]) == 0
    assert f"Validated up to 513 of {LIMIT} tokens" in (tmp_path / "report" / "report.html").read_text()


def test_validate_says_how_far_its_own_run_went(
    slow: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["validate", str(slow), "--model", str(model), "--threads", "1"]
    assert run_command([*command, "--json", "--validate-length", "200"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["validated_up_to"] == 200
    assert f"warning: validated up to 200 of {LIMIT} tokens" in err
    assert "checked" not in err
    monkeypatch.setattr(proof, "time", SimpleNamespace(perf_counter=Slow().perf_counter))
    assert run_command([*command, "--validate-seconds", "1"]) == 0
    out, err = capsys.readouterr()
    assert f"up to 513 of {LIMIT} tokens" in " ".join(out.split())
    assert f"validated up to 513 of {LIMIT} tokens: 1000 would take more than --validate-seconds 1." in err
    assert "texts: all of them would take more than --validate-seconds" in err


def test_a_length_that_is_insisted_on(model: Path, tmp_path: Path) -> None:
    manifest = export_here(model, tmp_path / "out", validation=Validation(length=300))
    assert manifest.validated_up_to == 300
    assert manifest.parity[0].texts > 80


def test_a_folder_whose_positions_alone_say_a_limit_is_exported_in_seconds(hub_like: Path, tmp_path: Path) -> None:
    manifest: Manifest = export_here(hub_like, tmp_path / "out", validation=Validation(seconds=2))
    assert manifest.model.text.max_seq_length == 32768
    assert 513 <= (manifest.validated_up_to or 0) < 32768


def test_a_window_is_crossed_however_slow_the_machine(
    hub_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_json(
        hub_like / "config.json",
        use_sliding_window=True,
        sliding_window=600,
        layer_types=["sliding_attention", "full_attention"],
    )
    monkeypatch.setattr(proof, "time", SimpleNamespace(perf_counter=Slow().perf_counter))
    # Two tokens more than one block of 300 queries and the keys that they see.
    assert export_here(hub_like, tmp_path / "out", validation=Validation()).validated_up_to == 903


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--validate-seconds", "9", "--validate-length", "9"], "Leave one out"),
        (["--validate-length", "2"], "expected tokens of a text, 3 or more"),
        (["--validate-length", str(LIMIT + 1)], f"more than the {LIMIT} tokens"),
        (["--validate-length", "200", "--max-seq-length", "199"], "more than the 199 tokens"),
        (["--validate-seconds", "0"], "--validate-seconds"),
        (["--validate-seconds", "nan"], "--validate-seconds"),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_what_cannot_be_proven_is_refused(
    options: list[str], message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", str(model), "-o", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_validate_refuses_a_length_beyond_the_limit_before_it_reads_the_model(slow: Path) -> None:
    with pytest.raises(InputError, match="--validate-length 1001 is more than the 1000 tokens"):
        exporter.validate(slow, model="nowhere", validate_length=LIMIT + 1)


def test_a_model_that_memory_cannot_hold_is_refused_before_its_weights_are_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.model.of_artifact.open_model", lambda *_: pytest.fail("the weights were read"))
    monkeypatch.setattr(afford, "available_bytes", lambda: 2**29)
    with pytest.raises(InputError, match=r"take at least 0\.5 GiB in fp32; this machine has 0\.5 GiB") as refused:
        export_here(model, tmp_path / "out")
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_little_memory_bounds_the_length_and_the_log_says_so(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(afford, "available_bytes", lambda: 2**29 + 2**24)
    monkeypatch.setattr("tests.conftest.Console", lambda **_: Console())
    manifest = export_here(model, tmp_path / "out", validation=Validation())
    assert 512 <= (manifest.validated_up_to or 0) < LIMIT
    err = capsys.readouterr().err
    assert "may not fit in this machine's memory" in err
    for name in ("read", "trace", "reference", "validate"):
        assert f"{name:<10} ...\n" in err
