"""The texts that int8 is made by: some of the user's, and our own in many languages. None of them judges the result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

import msgspec

from exporter.parity.tokens import Tokens, tokenise
from exporter.spec.model import ModelSpec
from poolfold.tokenise import Tokenizer

_LONGEST = 128
"""Tokens: each text is run alone, many times over, and a longer one shows no other channels."""


def calibration_texts(spec: ModelSpec, own: Sequence[str]) -> Tokens:
    """Our texts and the user's `own`, cut to 128 tokens or the model's limit."""
    limit = min(_LONGEST, spec.text.max_seq_length)
    text = msgspec.structs.replace(spec.text, max_seq_length=limit)
    return tokenise(tuple(dict.fromkeys((*_corpus(), *own))), Tokenizer(spec.tokenizer_json, text, spec.vocab_size))


def _corpus() -> list[str]:
    texts: list[str] = json.loads(resources.files(__package__).joinpath("calibration.json").read_text("utf-8"))
    return texts
