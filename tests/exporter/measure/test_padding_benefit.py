"""Where the two forms of a graph take as long: the arithmetic, and a real measurement's shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.measure.padding_benefit import crossing, measure_benefit
from poolfold.load import open_encoder
from poolfold.manifest import read_manifest
from poolfold.sessions.by_padding import ByPadding

MARGIN = 0.03


@given(
    fixed=st.floats(0.0, 1.0), per_token=st.floats(0.1, 5.0), share=st.floats(0.05, 0.95)
)  # seconds; the share at which both forms take as long
def test_the_crossing_is_where_the_two_lines_meet(fixed: float, per_token: float, share: float) -> None:
    plain = fixed + per_token * share
    found = crossing(plain, fixed + per_token * 0.5, fixed + per_token)
    assert found == pytest.approx(max(share - MARGIN, 0.0), abs=1e-3)


@pytest.mark.parametrize(
    ("plain", "half", "full", "expected"),
    [
        (10.0, 1.0, 2.0, 1 - MARGIN),  # faster even without padding: a full batch still runs on the plain form
        (1.0, 2.0, 3.0, 0.0),  # slower with any padding
        (1.0, 2.0, 1.9, 0.0),  # noise: time that falls with tokens, and slower
        (3.0, 2.0, 1.9, 1 - MARGIN),  # the same noise, and faster
    ],
)
def test_beyond_either_end(plain: float, half: float, full: float, expected: float) -> None:
    assert crossing(plain, half, full) == expected


def test_a_real_artifact_gets_a_share_for_each_graph_and_nothing_else_changes(artifact: Path) -> None:
    manifest = read_manifest(artifact)
    told: list[tuple[int, int, str]] = []
    found = measure_benefit(artifact, manifest, threads=1, progress=lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(i, len(found.graphs)) for i in range(len(found.graphs))]
    for before, after in zip(manifest.graphs, found.graphs, strict=True):
        assert after.padding_free is not None and before.padding_free is not None
        assert 0 <= after.padding_free.faster_below["onnxruntime"] <= 1 - MARGIN
        assert (after.path, after.padding_free.path) == (before.path, before.padding_free.path)


def test_an_encoder_takes_the_form_that_the_manifest_says_is_faster(artifact: Path) -> None:
    """Both forms give the same vectors, so the choice shows in the session alone."""
    manifest = read_manifest(artifact)
    ids = np.array([[2, 5, 6, 7, 3], [2, 5, 3, 0, 0], [2, 3, 0, 0, 0]])
    mask = (ids > 0).astype(np.int64)
    with (
        open_encoder(artifact, manifest, "mean", threads=1) as either,
        open_encoder(artifact, manifest, "mean", threads=1, form="plain") as plain,
        open_encoder(artifact, manifest, "mean", threads=1, form="padding-free") as free,
    ):
        assert isinstance(either.session, ByPadding)
        assert not isinstance(plain.session, ByPadding) and not isinstance(free.session, ByPadding)
        wanted = plain.embed(ids, mask)
        np.testing.assert_allclose(free.embed(ids, mask), wanted, atol=1e-6)
        np.testing.assert_allclose(either.embed(ids, mask), wanted, atol=1e-6)
