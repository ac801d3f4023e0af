from __future__ import annotations

import pytest

from exporter.model.checkpoint.transformer_config import load_config
from poolfold.errors import CheckpointError
from tests.architectures import ARCHITECTURES, HIDDEN, LAYERS, Architecture
from tests.models import edit_json, plain_checkpoint

OLD = {
    "activation_function": "swiglu",
    "n_embd": HIDDEN,
    "n_head": 2,
    "n_inner": 64,
    "n_layer": LAYERS,
    "n_positions": 8192,
    "prenorm": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_scaling_factor": None,
}
"""What checkpoints say that were written for the author's own code."""


@pytest.fixture
def folder(tmp_path):
    return plain_checkpoint(tmp_path, architecture="nomic_bert")


def test_the_old_dialect_is_read_where_it_says_the_same(folder):
    edit_json(folder / "config.json", **OLD)
    assert load_config(folder).hidden_size == HIDDEN


@pytest.mark.parametrize(
    ("key", "value", "computed"),
    [
        ("n_layer", 24, LAYERS),
        ("rotary_emb_base", 10000, "1000"),
        ("rotary_scaling_factor", 2.0, None),
        ("prenorm", True, False),
        ("causal", True, False),
        ("activation_function", "gelu", "'swiglu'"),
    ],
)
def test_and_refused_where_it_says_something_else(folder, key, value, computed):
    edit_json(folder / "config.json", **(OLD | {key: value}))
    with pytest.raises(CheckpointError, match=f"has {key} {value!r}; transformers' NomicBERT computes with {computed}"):
        load_config(folder)


def test_the_authors_own_code_may_compute_it(folder):
    edit_json(folder / "config.json", prenorm=True)
    assert load_config(folder, trust_remote_code=True).prenorm


GTE = {
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "pack_qkv": True,
    "position_embedding_type": "rope",
    "unpad_inputs": "true",
}


def test_of_gte_too(tmp_path):
    folder = plain_checkpoint(tmp_path, architecture=Architecture("gte", ARCHITECTURES["bert"].config))
    edit_json(folder / "config.json", **GTE)
    assert load_config(folder).hidden_size == HIDDEN
    for key, value in (("layer_norm_type", "rms_norm"), ("logn_attention_scale", True), ("pack_qkv", False)):
        edit_json(folder / "config.json", **(GTE | {key: value}))
        with pytest.raises(CheckpointError, match=f"has {key} {value!r}; transformers' Gte computes with"):
            load_config(folder)


def test_a_mixture_of_experts_is_called_one(folder):
    edit_json(folder / "config.json", **(OLD | {"moe_every_n_layers": 2, "activation_function": "gelu"}))
    with pytest.raises(CheckpointError, match=r"mixture of experts \(moe_every_n_layers 2\)"):
        load_config(folder)
