"""Texts as rows of token ids, and the batches of them that PyTorch and a candidate are both given.

Knows ids and padding; no model and no vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poolfold.tokenise import Tokenizer, pad

_MOST_ROWS = 32
_MOST_PADDING = 1.1  # padded tokens to real ones
_SMALL = 32  # padding that is too little to split a batch for, in tokens


@dataclass(frozen=True)
class Tokens:
    """Texts and their token ids, special tokens included, cut to the model's limit.

    rows: one for each text; never empty.
    padding_side: "left" or "right", as the model's own tokeniser pads.
    max_seq_length: no batch may be wider.
    """

    texts: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    pad_token_id: int
    padding_side: str
    max_seq_length: int


class Batch(NamedTuple):
    """Rows of tokens in one rectangle: int64 [batch, seq] twice, and which text each row is."""

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]
    rows: tuple[int, ...]


def tokenise(texts: Sequence[str], tokenizer: Tokenizer) -> Tokens:
    """Token ids of texts. A text that gives no token at all is left out: encoders refuse it."""
    pairs = [(text, tuple(row)) for text, row in zip(texts, tokenizer.ids(texts), strict=True) if row]
    return Tokens(
        texts=tuple(text for text, _ in pairs),
        rows=tuple(row for _, row in pairs),
        pad_token_id=tokenizer.text.pad_token_id,
        padding_side=tokenizer.text.padding_side,
        max_seq_length=tokenizer.text.max_seq_length,
    )


def make_batch(tokens: Tokens, rows: Sequence[int], *, length: int = 0, side: str | None = None) -> Batch:
    """Put rows into one batch, in this order.

    Args:
        tokens: where the rows come from.
        rows: their indices.
        length: pad to at least this many tokens.
        side: where the padding goes; the tokeniser's side if not given.
    """
    ids = [tokens.rows[row] for row in rows]
    return Batch(*pad(ids, side or tokens.padding_side, tokens.pad_token_id, length), tuple(rows))


def sorted_batches(tokens: Tokens) -> tuple[Batch, ...]:
    """Every row once, shortest first, in batches that waste little on padding."""
    groups: list[list[int]] = []
    real = 0
    for row in sorted(range(len(tokens.rows)), key=lambda r: len(tokens.rows[r])):
        length = len(tokens.rows[row])
        padded = (len(groups[-1]) + 1) * length if groups else 0
        if not groups or len(groups[-1]) == _MOST_ROWS or padded > _MOST_PADDING * (real + length) + _SMALL:
            groups.append([])
            real = 0
        groups[-1].append(row)
        real += length
    return tuple(make_batch(tokens, group) for group in groups)
