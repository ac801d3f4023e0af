"""Which names and dtypes of stored weights are taken for a model's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from exporter.model.checkpoint.weight_names import FLOATS, common_prefix, projections, require_floats
from exporter.model.checkpoint.weights import stored_dtypes
from exporter.model.pytorch import load_backbone
from poolfold.errors import CheckpointError
from tests.exporter.model.reading import embed, spec_of
from tests.models import edit_json, tiny_checkpoint

HERE = Path("checkpoint")
OWN = {"embeddings.weight", "layer.0.dense.weight", "layer.0.dense.bias", "norm.weight"}
CODES = ("int8", "uint8", "int32", "bool", "float8_e4m3fn", "float8_e5m2")
WEIGHT = "encoder.layer.0.intermediate.dense.weight"


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_codes_under_the_name_of_a_weight_are_refused(dtype, prefix):
    dtypes = dict.fromkeys((prefix + name for name in OWN), "float16")
    require_floats(HERE, dtypes, OWN)
    with pytest.raises(CheckpointError, match=rf"{prefix}layer\.0\.dense\.bias is stored as {dtype}.*quantised"):
        require_floats(HERE, dtypes | {f"{prefix}layer.0.dense.bias": dtype}, OWN)


@pytest.mark.parametrize("packed", ["qweight", "weight_packed", "weight"])
def test_packed_codes_in_the_place_of_a_weight_are_refused(packed):
    dtypes = dict.fromkeys(OWN - {"layer.0.dense.weight"}, "float32") | {f"layer.0.dense.{packed}": "int32"}
    with pytest.raises(CheckpointError, match=rf"layer\.0\.dense\.{packed} is stored as int32"):
        require_floats(HERE, dtypes, OWN)


@given(dtype=st.sampled_from(CODES), name=st.sampled_from(["position_ids", "layer.0.attn.bias", "layer.0.dense.count"]))
def test_integers_that_are_no_weights_pass(dtype, name):
    require_floats(HERE, dict.fromkeys(OWN, "bfloat16") | {name: dtype}, OWN)


PREFIXES = st.sampled_from(["", "model.", "module.", "base_model.model.", "_orig_mod.transformer.", "a.b.c.d."])


@given(prefix=PREFIXES, heads=st.sets(st.sampled_from(["lm_head.weight", "classifier.dense.weight", "cls.bias"])))
def test_the_prefix_of_all_names_but_those_of_heads(prefix, heads):
    assert common_prefix(HERE, {prefix + name for name in OWN} | heads, OWN) == prefix
    assert common_prefix(HERE, {prefix + name for name in OWN | heads}, OWN) == prefix


def test_two_models_in_one_file_are_refused():
    names = [f"{whose}.{name}" for whose in ("student", "teacher") for name in OWN]
    with pytest.raises(CheckpointError, match=r"holds two models.*'student\.'.*'teacher\.'"):
        common_prefix(HERE, names, OWN)


def test_projections_by_name():
    heads = ["lm_head.weight", "classifier.out_proj.weight", "pooler.dense.bias"]
    behind = ["linear.weight", "proj.weight", "text_projection.linear1.bias", "text_projection.weight"]
    assert projections([*heads, *behind]) == behind


def rewrite(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float8_e4m3fn"])
def test_a_quantised_checkpoint_that_its_configuration_does_not_call_so(tmp_path, dtype, pickled):
    folder = tiny_checkpoint(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights[WEIGHT] = (weights[WEIGHT] * 3).round().to(getattr(torch, dtype))
    (folder / "model.safetensors").unlink()
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    got = stored_dtypes(folder, allow_pickle=pickled)
    assert {got[name] in FLOATS for name in got if name != WEIGHT} == {True}
    with pytest.raises(CheckpointError, match=rf"{WEIGHT} is stored as {dtype.removesuffix('fn')}"):
        load_backbone(spec_of(folder, allow_pickle=pickled))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "prefix"),
    [("bert", "base_model.model."), ("roberta", "module.roberta."), ("qwen3", "_orig_mod.model."), ("t5", "encoder.")],
)
def test_weights_behind_a_common_prefix_give_the_same_vectors(tmp_path, architecture, prefix):
    folder = tiny_checkpoint(tmp_path, architecture=architecture)
    expected = embed(folder)
    rewrite(folder, lambda weights: {prefix + name: value for name, value in weights.items()})
    assert (embed(folder) == expected).all()


@pytest.mark.slow
def test_a_projection_behind_the_model_is_refused_by_name(tmp_path):
    folder = tiny_checkpoint(tmp_path)
    rewrite(folder, lambda weights: weights | {"text_projection.weight": torch.eye(32)})
    with pytest.raises(CheckpointError, match=r"ends in a projection \(text_projection\.weight\)"):
        load_backbone(spec_of(folder))
    edit_json(folder / "config.json", architectures=["CLIPTextModelWithProjection"])
    with pytest.raises(CheckpointError, match="is a CLIPTextModelWithProjection"):
        spec_of(folder)
