"""Real engines of every strategy, for all-MiniLM-L6-v2 and five architectures, built by TensorRT-RTX without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.spec.model import DType
from poolfold.manifest import read_manifest
from tests.conftest import EVERY_MODE, architecture_checkpoint, export_here

pytestmark = pytest.mark.e2e

LAYERS = {"minilm": 6} | dict.fromkeys(["bert", "roberta", "modernbert", "qwen3", "t5"], 2)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in LAYERS])
def test_attention_is_fused_in_every_layer_of_every_engine(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "minilm":
        manifest = read_manifest(request.getfixturevalue("minilm_artifact"))
    else:
        manifest = export_here(
            architecture_checkpoint(tmp_path / "model", name), tmp_path / "out", pooling=EVERY_MODE,
            dtypes=(DType.FP16,), targets=("onnxruntime", "tensorrt-rtx"),
        )  # fmt: skip
    forms = {(engine.strategy, engine.form) for engine in manifest.engines}
    assert forms >= {(mode, "plain") for mode in EVERY_MODE}
    for engine in manifest.engines:
        assert (engine.attention_layers, engine.attention_fused) == (LAYERS[name], LAYERS[name]), engine.path
        # The pooling is added up in fp32, and the rest is not.
        assert engine.contents is not None
        assert engine.contents.precisions["half"] > engine.contents.precisions["float"] > 0
