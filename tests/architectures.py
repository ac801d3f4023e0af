"""Every architecture that embedding checkpoints are made of, as small as it can be and still show its own ways.

Head sizes of 16, since no engine has kernels for less; grouped heads, windows and buckets so small that they matter
within POSITIONS tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

HIDDEN = 32
LAYERS = 2
POSITIONS = 64
"""Tokens that every architecture takes."""


@dataclass(frozen=True)
class Architecture:
    """A transformer and its tokenizer, as embedding checkpoints use them.

    model_type: transformers' name.
    config: without the size of the vocabulary.
    template: what the tokenizer puts around a text.
    pad_token: "[SEP]" where the token that ends a text also pads.
    padding_side: of the tokenizer.
    pooling: what such checkpoints are trained with.
    """

    model_type: str
    config: Mapping[str, Any]
    template: str = "[CLS] $A [SEP]"
    pad_token: str = "[PAD]"
    padding_side: str = "right"
    pooling: str = "mean"


_SIZES = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_hidden_layers": LAYERS, "intermediate_size": 64}
_PLAIN = _SIZES | {"max_position_embeddings": POSITIONS, "pad_token_id": 0}
_OFFSET = _SIZES | {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "type_vocab_size": 1}
_ENDS = {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
# Queries are wider than the hidden size, as in Qwen3 and Gemma 3, and two heads share their keys and values.
_GROUPED = _PLAIN | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
_GEMMA = _GROUPED | {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]} | _ENDS
_DEBERTA = _PLAIN | {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "type_vocab_size": 0,
}
_T5 = {"d_model": HIDDEN, "d_kv": 16, "num_heads": 3, "num_layers": LAYERS, "d_ff": 64, "pad_token_id": 0} | {
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture("bert", _PLAIN, pooling="cls"),
    "roberta": Architecture("roberta", _OFFSET),
    "xlm-roberta": Architecture("xlm-roberta", _OFFSET),
    "camembert": Architecture("camembert", _OFFSET),
    "electra": Architecture("electra", _PLAIN | {"embedding_size": 16}),
    "ernie": Architecture("ernie", _PLAIN | {"use_task_id": True}),
    "albert": Architecture("albert", _PLAIN | {"embedding_size": 16}),
    "distilbert": Architecture(
        "distilbert",
        {"dim": HIDDEN, "n_heads": 2, "n_layers": LAYERS, "hidden_dim": 64}
        | {"max_position_embeddings": POSITIONS, "pad_token_id": 0},
    ),
    "mpnet": Architecture("mpnet", _OFFSET),
    "deberta-v2": Architecture("deberta-v2", _DEBERTA),
    "deberta-v2-convolution": Architecture(
        "deberta-v2", _DEBERTA | {"conv_kernel_size": 3, "conv_act": "gelu", "position_biased_input": True}
    ),
    "modernbert": Architecture(
        "modernbert", _PLAIN | {"local_attention": 8, "global_attn_every_n_layers": 2} | _ENDS, pooling="cls"
    ),
    "nomic_bert": Architecture("nomic_bert", _PLAIN),
    "jina_embeddings_v3": Architecture("jina_embeddings_v3", _OFFSET),
    "eurobert": Architecture("eurobert", _GROUPED | {"mask_token_id": 4} | _ENDS),
    "t5": Architecture("t5", _T5, template="$A [SEP]"),
    "mt5": Architecture("mt5", _T5, template="$A [SEP]"),
    "qwen2": Architecture(
        "qwen2", _GROUPED, template="$A [SEP]", pad_token="[SEP]", padding_side="left", pooling="lasttoken"
    ),
    "qwen3": Architecture(
        "qwen3", _GROUPED, template="$A [SEP]", pad_token="[SEP]", padding_side="left", pooling="lasttoken"
    ),
    "mistral": Architecture("mistral", _GROUPED | {"sliding_window": 8}, padding_side="left", pooling="lasttoken"),
    "llama": Architecture("llama", _GROUPED, template="[CLS] $A"),
    "gemma3_text": Architecture("gemma3_text", _GEMMA, padding_side="left"),
    "gemma3_text-bidirectional": Architecture("gemma3_text", _GEMMA | {"use_bidirectional_attention": True}),
}
"""By name: the model type, and what sets this one apart where there are several of a type."""

BY_ARCHITECTURE = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ARCHITECTURES]
"""Parameters of tests that share what an architecture was exported or traced to: one process runs them all."""
