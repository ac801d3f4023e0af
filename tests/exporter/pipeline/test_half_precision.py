"""fp16 at its limits: what overflows is named, stays fp32 by a rule, and the proof is a rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import poolfold
from exporter.pipeline import recipes
from exporter.spec.model import DType
from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.float16_rules import RULES
from poolfold.errors import CheckFailed
from tests.conftest import export_here
from tests.exporter.pipeline.test_export import TEXTS, oracle, smallest_cosine
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

BOTH = (DType.FP32, DType.FP16)
WIDE = "encoder.layer.0.intermediate.dense"


def overflowing(folder: Path) -> Path:
    """A BERT whose first feed-forward reaches about a million and comes back: exact in fp32, infinite in fp16."""
    tiny_checkpoint(folder, pooling="mean")
    weights = load_file(folder / "model.safetensors")
    weights[f"{WIDE}.weight"] *= 2.0**18
    weights[f"{WIDE}.bias"] *= 2.0**18
    weights["encoder.layer.0.output.dense.weight"] *= 2.0**-18
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_model_that_leaves_fp16_keeps_those_nodes_fp32_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = overflowing(tmp_path / "model")
    manifest = export_here(folder, tmp_path / "out", pooling=("mean", "cls"), dtypes=BOTH)
    kept = {rule.rule: rule for rule in manifest.graphs[-1].kept_fp32}
    said = " ".join(rule.why for rule in kept.values())
    assert {"weight-range", "measured-range"} & set(kept)
    assert "65504" in said or "32752" in said
    assert "stay fp32" in capsys.readouterr().err
    for name in ("mean", "cls"):
        expected = oracle(folder, name, TEXTS)
        for dtype in ("fp32", "fp16"):
            vectors = poolfold.load(tmp_path / "out", strategy=name, dtype=dtype).encode(TEXTS, prompt="")
            assert smallest_cosine(vectors, expected) >= 0.999


def test_without_the_rules_the_rehearsal_refuses_it_and_names_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = overflowing(tmp_path / "model")
    careless = tuple(rule for rule in RULES if rule.name not in ("measured-range", "weight-range"))
    monkeypatch.setattr(
        recipes, "ConvertToFloat16Pass", lambda measured, shared: ConvertToFloat16Pass(measured, shared, careless)
    )
    with pytest.raises(CheckFailed, match=r"mean fp16 on fp16 rehearsal .*unusable_rows \d+.*Smallest cosines: '"):
        export_here(folder, tmp_path / "out", dtypes=BOTH)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
