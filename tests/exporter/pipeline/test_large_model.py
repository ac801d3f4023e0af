"""A model past two gigabytes, the largest that one protobuf file can hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

import poolfold
from tests.architectures import HIDDEN
from tests.conftest import export_here
from tests.exporter.pipeline.test_export import TEXTS, oracle
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

ROWS = 2**31 // (4 * HIDDEN) + 100_000
NEEDED = 10 * 2**30


def test_a_model_past_two_gigabytes(tmp_path: Path) -> None:
    if psutil.virtual_memory().available < NEEDED or shutil.disk_usage(tmp_path).free < NEEDED:
        pytest.skip(f"needs {NEEDED / 2**30:.0f} GiB of free memory and disk")
    folder = tiny_checkpoint(tmp_path / "model", config={"vocab_size": ROWS})
    manifest = export_here(folder, tmp_path / "out", pooling=("mean", "cls"))
    sizes = {file.path: file.bytes for file in manifest.files}
    assert sizes["onnx/weights_fp32.bin"] > 2**31
    assert sizes["onnx/mean_fp32.onnx"] + sizes["onnx/cls_fp32.onnx"] < 10**6
    with poolfold.load(tmp_path / "out", strategy="cls") as encoder:
        np.testing.assert_allclose(encoder.encode(TEXTS), oracle(folder, "cls", TEXTS), atol=2e-6)
    shutil.rmtree(tmp_path / "model")
    shutil.rmtree(tmp_path / "out")
