"""NomicBERT's configuration in the dialect of its own code, which transformers' NomicBERT does not read.

It keeps unknown keys and takes its defaults instead: those of nomic-embed-text, silently. So a checkpoint in the old
dialect is held against what will be computed.

Source: transformers, `NomicBertConfig`; the configuration that nomic-ai publishes beside its models.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedConfig

from poolfold.errors import CheckpointError

_RENAMED = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
_FIXED = {
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
}
"""Values that transformers' NomicBERT assumes, and does not read from the configuration."""


def check_nomic_bert(config: PreTrainedConfig, path: Path) -> None:
    """Check that no key of the old dialect says something else than what transformers computes.

    Raises:
        CheckpointError: one does.
    """
    computed = {old: getattr(config, new) for old, new in _RENAMED.items()} | _FIXED
    computed["rotary_emb_base"] = config.rope_parameters["rope_theta"]
    for key, value in computed.items():
        stated = getattr(config, key, None)
        if stated is not None and stated != value:
            raise CheckpointError(
                f"{path} has {key} {stated!r}; transformers' NomicBERT computes with {value!r}, and would give other "
                "vectors than the author's. Pass --trust-remote-code to run the author's code."
            )
