"""Embedding checkpoints by the names that the hub has them under: tiny, with their own configuration and folder layout.

Weights are random and sizes small; model types, features of the configuration and files are as published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.architectures import HIDDEN, POSITIONS, Architecture
from tests.models import DenseLayer, edit_json, tiny_checkpoint, write_json

_SIZES = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_GROUPED = _SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}
_LONG = {"max_position_embeddings": 32768}
_XLM = _SIZES | {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "type_vocab_size": 1}
_ENDS = {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
_MODERNBERT = _SIZES | _ENDS | {"max_position_embeddings": 8192, "local_attention": 8} | {
    "global_attn_every_n_layers": 2,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0,
    "norm_bias": False,
}  # fmt: skip
_GEMMA = _GROUPED | _ENDS | {"query_pre_attn_scalar": 256, "rope_theta": 1e6, "rope_local_base_freq": 10000.0} | {
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 2048,
}  # fmt: skip
_QWEN3 = _GROUPED | _LONG | {
    "rope_theta": 1000000,
    "rope_scaling": None,
    "sliding_window": None,
    "use_sliding_window": False,
    "max_window_layers": 2,
}  # fmt: skip
_LAST = {"template": "$A [SEP]", "padding_side": "left", "pooling": "lasttoken"}
_ENDS_PAD = _LAST | {"pad_token": "[SEP]"}
_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
_NOMIC_KEYS = {
    "activation_function": "swiglu",
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "n_embd": HIDDEN,
    "n_head": 2,
    "n_inner": 64,
    "n_layer": 2,
    "n_positions": 8192,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_scaling_factor": None,
    "use_flash_attn": True,
}
_NOMIC_MOE_KEYS = _NOMIC_KEYS | {
    "activation_function": "gelu",
    "moe_every_n_layers": 2,
    "moe_top_k": 2,
    "num_experts": 8,
    "qkv_proj_bias": True,
    "rotary_emb_base": 10000,
}
_REMOTE = {"auto_map": {"AutoModel": "modeling.Model"}}


@dataclass(frozen=True)
class NamedModel:
    """A checkpoint of the hub.

    prompts: of config_sentence_transformers.json.
    options: of `tiny_checkpoint`.
    config: keys of config.json that only the author's own code reads.
    transformer: the class in modules.json, where it is not sentence-transformers' own.
    refused: what the refusal says, a regular expression; None where the export works.
    """

    architecture: Architecture
    prompts: Mapping[str, str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    transformer: str | None = None
    refused: str | None = None


NAMED: Mapping[str, NamedModel] = {
    "Qwen/Qwen3-Embedding-0.6B": NamedModel(
        Architecture("qwen3", _QWEN3, **_ENDS_PAD), {"query": _INSTRUCT, "document": ""}, {"dtype": "bfloat16"}
    ),
    "google/embeddinggemma-300m": NamedModel(
        Architecture("gemma3_text", _GEMMA | {"use_bidirectional_attention": True}),
        {"query": "task: search result | query: ", "document": "title: none | text: "},
        {"dense": [DenseLayer(width, bias=False, activation="Identity") for width in (128, HIDDEN)]},
    ),
    "google/embeddinggemma-2": NamedModel(
        Architecture("embedding_gemma2", {"text_config": _GROUPED | _ENDS, "pad_token_id": 0}),
        refused="This embedding_gemma2 reads more than text: its hidden_size stands in text_config",
    ),
    "microsoft/harrier-oss-v1-270m": NamedModel(
        Architecture("gemma3_text", _GEMMA, template="[CLS] $A [SEP]", padding_side="left", pooling="lasttoken"),
        {"web_search_query": _INSTRUCT},
        {"dtype": "bfloat16"},
    ),
    "BAAI/bge-m3": NamedModel(Architecture("xlm-roberta", _XLM, pooling="cls")),
    "intfloat/multilingual-e5-large-instruct": NamedModel(
        Architecture("xlm-roberta", _XLM | {"position_embedding_type": "absolute"}), options={"dtype": "float16"}
    ),
    "Snowflake/snowflake-arctic-embed-l-v2.0": NamedModel(
        Architecture("xlm-roberta", _XLM, pooling="cls"), {"query": "query: "}
    ),
    "Snowflake/snowflake-arctic-embed-m-v2.0": NamedModel(
        Architecture("gte", _SIZES | {"pad_token_id": 1, "max_position_embeddings": 8192}, pooling="cls"),
        {"query": "query: "},
        config=_REMOTE
        | {"layer_norm_type": "layer_norm", "pack_qkv": True, "position_embedding_type": "rope"}
        | {"rope_scaling": None, "rope_theta": 160000, "logn_attention_scale": False, "unpad_inputs": True},
    ),
    "Alibaba-NLP/gte-multilingual-base": NamedModel(
        Architecture("gte", _SIZES | {"pad_token_id": 1}, pooling="cls"),
        config=_REMOTE | {"model_type": "new"},
        refused="model_type 'new', whose code comes with the checkpoint",
    ),
    "Alibaba-NLP/gte-modernbert-base": NamedModel(
        Architecture("modernbert", _MODERNBERT, pooling="cls"), options={"normalize": False}
    ),
    "lightonai/modernbert-embed-large": NamedModel(
        Architecture("modernbert", _MODERNBERT), {"query": "search_query: ", "document": "search_document: "}
    ),
    "ibm-granite/granite-embedding-english-r2": NamedModel(
        Architecture("modernbert", _MODERNBERT, pooling="cls"), options={"dtype": "bfloat16"}
    ),
    "nomic-ai/nomic-embed-text-v1.5": NamedModel(
        Architecture("nomic_bert", _SIZES | {"pad_token_id": 0, "max_position_embeddings": 2048}),
        options={"normalize": False},
        config=_REMOTE | _NOMIC_KEYS,
    ),
    "nomic-ai/nomic-embed-text-v2-moe": NamedModel(
        Architecture("nomic_bert", _SIZES | {"pad_token_id": 1}),
        {"query": "search_query: ", "passage": "search_document: "},
        config=_REMOTE | _NOMIC_MOE_KEYS,
        refused="a mixture of experts .moe_every_n_layers 2.",
    ),
    "jinaai/jina-embeddings-v3": NamedModel(
        Architecture("xlm-roberta", _XLM),
        {"retrieval.query": "Represent the query for retrieving evidence documents: "},
        config=_REMOTE | {"lora_adaptations": ["retrieval.query"], "position_embedding_type": "rotary"},
        transformer="custom_st.Transformer",
        refused="lists the module 'custom_st.Transformer', which cannot be folded",
    ),
    "jinaai/jina-embeddings-v3-hf": NamedModel(Architecture("jina_embeddings_v3", _XLM)),
    "jinaai/jina-embeddings-v5-text-small-retrieval": NamedModel(
        Architecture("qwen3", _QWEN3 | {"rope_theta": 3500000}, **_ENDS_PAD),
        {"query": "Query: ", "document": "Document: "},
        {"dtype": "bfloat16"},
    ),
    "jinaai/jina-embeddings-v5-text-nano-retrieval": NamedModel(
        Architecture("eurobert", _GROUPED | _ENDS | {"mask_token_id": 4, "rope_theta": 250000}, pooling="lasttoken"),
        {"query": "Query: ", "document": "Document: "},
        {"dtype": "bfloat16"},
    ),
    "intfloat/e5-mistral-7b-instruct": NamedModel(
        Architecture("mistral", _GROUPED | _LONG | {"sliding_window": 8}, **_LAST),
        {"web_search_query": _INSTRUCT},
        {"dtype": "float16"},
    ),
    "Alibaba-NLP/gte-Qwen2-1.5B-instruct": NamedModel(
        Architecture("qwen2", _GROUPED | _LONG | {"is_causal": False}, **_ENDS_PAD),
        {"query": _INSTRUCT},
        config=_REMOTE,
    ),
    "nvidia/llama-embed-nemotron-8b": NamedModel(
        Architecture("llama", _GROUPED | _LONG | {"is_causal": False}, template="[CLS] $A", padding_side="left"),
        config=_REMOTE | {"model_type": "llama_bidirec"},
        refused="model_type 'llama_bidirec', whose code comes with the checkpoint",
    ),
}
"""By the hub's name."""


def named_checkpoint(folder: Path, name: str) -> Path:
    """Write the checkpoint and return its folder: sentence-transformers' layout as up to 5.3, as the hub has it."""
    model = NAMED[name]
    tiny_checkpoint(
        folder,
        architecture=model.architecture,
        pooling=model.architecture.pooling,
        prompts=model.prompts,
        dialect="old",
        **model.options,
    )
    edit_json(folder / "config.json", **model.config)
    if model.transformer is not None:
        modules = json.loads((folder / "modules.json").read_text())
        write_json(folder / "modules.json", [modules[0] | {"type": model.transformer}, *modules[1:]])
    return folder
