"""tokenizer_config.json of an artifact: the checkpoint's, true of the artifact, for programs that read it.

poolfold's own loaders read tokenizer.json and the manifest only. transformers, fastembed and transformers.js cut texts
at `model_max_length`, and transformers 5 rebuilds a tokenizer from `tokenizer_class`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.spec.model import ModelSpec
from exporter.spec.origin import TokenizerSource

CLASS_OF_THE_FILE = "PreTrainedTokenizerFast"
"""The class that takes tokenizer.json as it is, by the name that transformers 4 and 5 both know."""

_HONOURED = ("add_bos_token", "add_eos_token", "auto_map", "tokenizer_file")
"""What tokenizer.json now says itself, and transformers 5 would do again; code that is not in the artifact."""
_LISTS = {"additional_special_tokens", "extra_special_tokens"}


def tokenizer_config(spec: ModelSpec) -> dict[str, Any]:
    """The fields: the checkpoint's with the artifact's limit, and with the file's class if another gives other ids."""
    fields = {**_read(spec.small_file("tokenizer_config.json")), "model_max_length": spec.text.max_seq_length}
    return _for_the_file(fields, spec) if keeps_the_file(spec) else fields


def keeps_the_file(spec: ModelSpec) -> bool:
    """Whether the ids are those of tokenizer.json, and the checkpoint's class does not give them."""
    reading = spec.tokenizer
    return reading.source == TokenizerSource.FILE and (reading.differ > 0 or reading.texts == 0)


def _for_the_file(fields: dict[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """Name the class of the file, and state what the checkpoint's class had by default."""
    if "added_tokens_decoder" not in fields:
        fields |= _read(spec.small_file("special_tokens_map.json"))
    file = json.loads(spec.tokenizer_json)
    tokens = {token["content"]: token["id"] for token in file["added_tokens"]}
    # Whoever loads them would add tokens that the file does not have.
    for name in _LISTS & fields.keys():
        value = fields[name] or []
        fields[name] = [t for t in (value.values() if isinstance(value, dict) else value) if _content(t) in tokens]
    kept = {
        name: value
        for name, value in fields.items()
        if name not in _HONOURED and (not name.endswith("_token") or value is None or _content(value) in tokens)
    }
    padding = [token for token, number in tokens.items() if number == spec.text.pad_token_id]
    inputs = ["input_ids", *(["token_type_ids"] if spec.token_types else []), "attention_mask"]
    stated = {
        "tokenizer_class": CLASS_OF_THE_FILE,
        "padding_side": spec.text.padding_side,
        "truncation_side": spec.text.truncation_side,
        "model_input_names": inputs,
    }
    prefix = (file["pre_tokenizer"] or {}).get("add_prefix_space")
    return (
        kept
        | stated
        | ({} if prefix is None else {"add_prefix_space": prefix})
        | ({"pad_token": padding[0]} if padding and kept.get("pad_token") is None else {})
    )


def _content(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token


def _read(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return fields
