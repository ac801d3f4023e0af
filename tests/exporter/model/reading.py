"""Read a folder and embed texts with the reference, tokenised as the runtime does: by `tokenizers` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.model.pytorch import Reference, load_backbone
from exporter.spec.model import ModelSpec
from exporter.spec.origin import Trust

TEXTS = (
    "The query is a text",
    "a",
    "",
    "Größe матч 日本語 😀 unknown: ☃",
    "def f(x):\n    return x[1] + 2  # code",
    "testing " * 40,
)
"""Of several scripts, empty, one token, and longer than any limit here."""

Ids = npt.NDArray[np.int64]


def spec_of(folder: Path, *, allow_pickle: bool = False) -> ModelSpec:
    return read_spec(resolve_source(str(folder)), Trust(allow_pickle=allow_pickle))


def tokenise(spec: ModelSpec, texts: Sequence[str], prompt: str = "") -> tuple[Ids, Ids]:
    """`input_ids` and `attention_mask`, int64 [texts, longest]."""
    tokenizer = Tokenizer.from_str(spec.tokenizer_json)
    tokenizer.enable_truncation(spec.text.max_seq_length, direction=spec.text.truncation_side)
    tokenizer.enable_padding(pad_id=spec.text.pad_token_id, direction=spec.text.padding_side)
    rows = tokenizer.encode_batch([prompt + text for text in texts])
    return np.array([row.ids for row in rows]), np.array([row.attention_mask for row in rows])


def embed(folder: Path, texts: Sequence[str] = TEXTS, prompt: str = "") -> npt.NDArray[np.float32]:
    """The reference's vectors under the trained strategy, float32 [texts, dim]."""
    spec = spec_of(folder)
    assert spec.trained is not None
    reference = Reference(load_backbone(spec), spec.head)
    return reference.embed(*tokenise(spec, texts, prompt), [spec.trained])[spec.trained]
