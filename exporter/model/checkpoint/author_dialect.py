"""Configurations in the dialect of the author's own code, which transformers' model of the same type does not read.

transformers keeps unknown keys and computes with its own values instead, silently. So such keys are held against what
will be computed.

Source: transformers, `NomicBertConfig`, `GteConfig`; the configurations that nomic-ai, Alibaba-NLP and Snowflake
publish beside their models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from poolfold.errors import CheckpointError

_RENAMED = {
    "nomic_bert": {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_inner": "intermediate_size",
        "layer_norm_epsilon": "layer_norm_eps",
    },
}
_FIXED: Mapping[str, Mapping[str, Any]] = {
    "nomic_bert": {
        "activation_function": "swiglu",
        "causal": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "parallel_block": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "scale_attn_weights": True,
        "use_rms_norm": False,
    },
    "gte": {
        "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "pack_qkv": True,
        "position_embedding_type": "rope",
    },
}
"""Values that transformers' models assume, and do not read from the configuration."""

_CLASSES = {"nomic_bert": "NomicBERT", "gte": "Gte"}


def check_author_dialect(config: PreTrainedConfig, path: Path) -> None:
    """Check that no key of the author's dialect says something else than what transformers computes.

    Raises:
        CheckpointError: one does.
    """
    kind = config.model_type
    if kind not in _FIXED:
        return
    if every := getattr(config, "moe_every_n_layers", 0):
        raise CheckpointError(
            f"{path} is of a mixture of experts (moe_every_n_layers {every}), and transformers' {_CLASSES[kind]} has "
            "none. Pass --trust-remote-code to run the author's code; it is refused in turn if it cannot be traced."
        )
    computed = {old: getattr(config, new) for old, new in _RENAMED.get(kind, {}).items()} | dict(_FIXED[kind])
    if kind == "nomic_bert":
        computed["rotary_emb_base"] = config.rope_parameters["rope_theta"]
    for key, value in computed.items():
        stated = getattr(config, key, None)
        if stated is not None and stated != value:
            raise CheckpointError(
                f"{path} has {key} {stated!r}; transformers' {_CLASSES[kind]} computes with {value!r}, and would give "
                "other vectors than the author's. Pass --trust-remote-code to run the author's code."
            )
