"""A LoRA adapter is merged where its base model is at hand; the vectors are those of peft's unmerged model."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.model.checkpoint import adapter
from exporter.model.checkpoint.content_hash import content_hash
from exporter.model.pytorch import load_backbone
from poolfold.errors import CheckpointError
from tests.exporter.model.reading import embed, spec_of
from tests.models import edit_json, tiny_checkpoint, write_json

pytestmark = pytest.mark.slow

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query"]}


def write_adapter(folder: Path, base: str, prefix: str = "", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random A and B for every query of a tiny BERT."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(2):
        name = f"base_model.model.{prefix}encoder.layer.{layer}.attention.self.query"
        weights[f"{name}.lora_A.weight"] = torch.randn(4, 32, generator=generator)
        weights[f"{name}.lora_B.weight"] = torch.randn(32, 4, generator=generator) * 0.3
    write_json(folder / adapter.CONFIG, CONFIG | {"base_model_name_or_path": base})
    save_file(weights, folder / adapter.WEIGHTS)
    return weights


def expected(base: Path, folder: Path, weights: dict[str, torch.Tensor]) -> Any:
    """The vectors with W + alpha / r * B A put into the base's own weights."""
    shutil.copytree(base, folder)
    state = load_file(folder / "model.safetensors")
    for layer in range(2):
        name = f"encoder.layer.{layer}.attention.self.query"
        a, b = (next(v for k, v in weights.items() if k.endswith(f"{name}.lora_{x}.weight")) for x in "AB")
        state[f"{name}.weight"] = state[f"{name}.weight"] + 2.0 * b @ a
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return embed(folder)


@needs_peft
@pytest.mark.parametrize("place", ["beside", "over a folder", "over a neighbour, trained under a head"])
def test_the_merged_vectors(tmp_path: Path, place: str) -> None:
    base = tiny_checkpoint(tmp_path / "base")
    if place == "beside":
        folder = tmp_path / "both"
        shutil.copytree(base, folder)
        weights = write_adapter(folder, "nobody/nothing")
    else:
        folder = tmp_path / "adapter"
        shutil.copytree(base, folder)
        for name in ("config.json", "model.safetensors"):
            (folder / name).unlink()
        under_head = "head" in place
        weights = write_adapter(folder, "../base" if under_head else str(base), "bert." * under_head)
    want = expected(base, tmp_path / "by hand", weights)
    np.testing.assert_allclose(embed(folder), want, atol=2e-6)
    assert np.abs(want - embed(base)).max() > 1e-2
    before = content_hash(spec_of(folder))
    write_adapter(folder, str(base), seed=1)
    assert content_hash(spec_of(folder)) != before


@needs_peft
def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    write_adapter(folder, "x", "")
    weights = {name.replace("layer.1", "layer.7"): value for name, value in load_file(folder / adapter.WEIGHTS).items()}
    save_file(weights, folder / adapter.WEIGHTS)
    with pytest.raises(CheckpointError, match="does not fit its base model"):
        load_backbone(spec_of(folder))


@needs_peft
def test_a_merge_that_changes_vectors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora.model import LoraModel

    folder = tiny_checkpoint(tmp_path)
    write_adapter(folder, "x")
    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, **_: self.unload())
    with pytest.raises(CheckpointError, match="gives other token vectors than beside it"):
        load_backbone(spec_of(folder))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_checkpoint(tmp_path)
    write_adapter(folder, "x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"peft, which merges it, is not installed: pip install .*\[lora"):
        spec_of(folder)
    (folder / "model.safetensors").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    edit_json(folder / adapter.CONFIG, base_model_name_or_path="owner/never-downloaded")
    with pytest.raises(CheckpointError, match=r"over owner/never-downloaded\. .*not a folder here"):
        spec_of(folder)
    edit_json(folder / adapter.CONFIG, peft_type="PREFIX_TUNING")
    with pytest.raises(CheckpointError, match=r"of the kind 'PREFIX_TUNING'; expected LORA"):
        spec_of(folder)
