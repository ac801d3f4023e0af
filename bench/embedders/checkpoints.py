"""Checkpoints with the configurations of published embedders and random weights; speed depends on nothing else.

A token is a byte, so that a prompt has as many tokens as characters.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.host.child_process import OwnProcess

PROMPT = "Find the page for: query "
"""25 tokens."""
_SEED = 0


@dataclass(frozen=True)
class Embedder:
    """What decides speed and layout.

    config: as the hub has it, token ids left out.
    limit: tokens, in sentence_bert_config.json; None leaves it to the positions.
    dense: widths of the Dense layers behind the pooling.
    as_published: whether it is exported with default arguments too.
    """

    config: Mapping[str, Any]
    pooling: str
    dtype: str = "float32"
    limit: int | None = 512
    left: bool = False
    dense: tuple[int, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    as_published: bool = False


_XLMR = {"model_type": "xlm-roberta", "vocab_size": 250002, "hidden_act": "gelu", "type_vocab_size": 1} | {
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
_SLIDING = ["sliding_attention"] * 5 + ["full_attention"]
EMBEDDERS: Mapping[str, Embedder] = {
    "Qwen3-Embedding-0.6B": Embedder(
        {"model_type": "qwen3", "vocab_size": 151669, "hidden_size": 1024, "intermediate_size": 3072}
        | {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
        | {"max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": True},
        pooling="lasttoken",
        dtype="bfloat16",
        limit=None,
        left=True,
        prompts={"query": PROMPT, "document": ""},
        as_published=True,
    ),
    "EmbeddingGemma-300M": Embedder(
        {"model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 768, "intermediate_size": 1152}
        | {"num_hidden_layers": 24, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 256}
        | {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "query_pre_attn_scalar": 256, "sliding_window": 512}
        | {"use_bidirectional_attention": True, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}
        | {"layer_types": _SLIDING * 4, "hidden_activation": "gelu_pytorch_tanh", "pad_token_id": 0},
        pooling="mean",
        limit=2048,
        dense=(3072, 768),
        prompts={"query": PROMPT},
    ),
    "multilingual-e5-base": Embedder(
        _XLMR
        | {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
        | {"intermediate_size": 3072, "max_position_embeddings": 514},
        pooling="mean",
    ),
    "bge-m3": Embedder(
        _XLMR
        | {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
        | {"intermediate_size": 4096, "max_position_embeddings": 8194},
        pooling="cls",
        limit=8192,
    ),
}


def make(embedder: Embedder, folder: Path) -> Path:
    """The checkpoint, made where it is not there yet."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        with OwnProcess("bench.embedders.checkpoints:write", embedder, str(part)) as process:
            process.result()
        part.rename(folder)
    return folder


def write(embedder: Embedder, folder: str) -> None:
    """Write the folder. Imports torch: call it in a process of its own."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel

    place, settings = Path(folder), dict(embedder.config)
    width = settings["hidden_size"]
    parts = ["Transformer", "Pooling", *(["Dense"] * len(embedder.dense)), "Normalize"]
    types = [(f"{i}_{part}" if i else "", f"sentence_transformers.models.{part}") for i, part in enumerate(parts)]
    for path, _ in types:
        (place / path).mkdir(parents=True, exist_ok=True)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    torch.manual_seed(_SEED)
    pooler = {"add_pooling_layer": False} if "roberta" in config.model_type else {}
    model = AutoModel.from_config(config, dtype=getattr(torch, embedder.dtype), **pooler)
    model.save_pretrained(place)
    listed = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(types)]
    _write(place / "modules.json", listed)
    pooling = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}[embedder.pooling]
    _write(place / "1_Pooling/config.json", {"word_embedding_dimension": width, f"pooling_mode_{pooling}": True})
    for number, (before, after) in enumerate(zip((width, *embedder.dense), embedder.dense, strict=False), 2):
        sizes = {"in_features": before, "out_features": after, "bias": False}
        identity = "torch.nn.modules.linear.Identity"
        _write(place / f"{number}_Dense/config.json", sizes | {"activation_function": identity})
        save_file(
            {"linear.weight": torch.randn(after, before) / before**0.5}, place / f"{number}_Dense/model.safetensors"
        )
    _write(place / "sentence_bert_config.json", {"max_seq_length": embedder.limit} if embedder.limit else {})
    _write(place / "config_sentence_transformers.json", {"prompts": dict(embedder.prompts)})
    _write_tokenizer(place, left=embedder.left, pad_id=config.pad_token_id or 0)


def _write_tokenizer(folder: Path, *, left: bool, pad_id: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[S]", "[P]"] if pad_id else ["[P]", "[S]"]
    letters = {letter: 2 + i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    names = {token: i for i, token in enumerate(special)}
    tokenizer = Tokenizer(models.BPE(vocab={**names, **letters}, merges=[]))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [S]", special_tokens=[("[S]", names["[S]"])])
    tokenizer.save(str(folder / "tokenizer.json"))
    side = "left" if left else "right"
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[P]", "eos_token": "[S]", "padding_side": side}
    _write(folder / "tokenizer_config.json", told)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1))
