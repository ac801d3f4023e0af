"""An artifact of poolfold 0.1.0, kept in tests/data: it verifies, loads and gives the vectors that it gave then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import poolfold
from poolfold.manifest import Executor

FOLDER = Path(__file__).parents[1] / "data" / "artifact-0.1.0"
TEXTS = (FOLDER / "texts.txt").read_text().splitlines()


@pytest.mark.parametrize("strategy", ["mean", "cls"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_it_gives_the_vectors_that_it_gave(strategy: str, dtype: str) -> None:
    expected = np.load(FOLDER / f"{strategy}_{dtype}.npy")
    with poolfold.load(FOLDER / "artifact", strategy=strategy, dtype=dtype) as encoder:
        np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    assert np.abs(expected[0] - expected[2]).max() > 1e-2, "the premise needs texts with vectors of their own"


def test_its_rows_have_a_type_now() -> None:
    manifest = poolfold.verify(FOLDER / "artifact")
    assert manifest.poolfold_version == "0.1.0"
    executors = {row.ran_on for row in manifest.parity}
    assert executors == {
        Executor(target="onnxruntime", device="cpu"),
        Executor(target="onnxruntime", device="cpu", form="padding-free"),
        Executor(target="onnxruntime", device="cpu", rehearsed=True),
    }
    assert {row.runtime for row in manifest.latency} == {"pytorch", "onnxruntime"}
    assert all(str(row.ran_on) == row.executor for row in manifest.parity)
