"""Texts as rows of token ids, and the batches of them that PyTorch and a candidate are both given.

Knows ids and padding; no model and no vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.parity.corpus import corpus
from exporter.spec.model import ModelSpec
from poolfold.errors import InputError
from poolfold.tokenise import Tokenizer, pad

_PROMPTS = ("represent this: ", "a")
"""Prompts given at run time, a long one and a short one."""
_EVERY = 4
"""One text in so many is asked for with each prompt."""
_MOST_ROWS = 32
_MOST_PADDING = 1.1  # padded tokens to real ones
_SMALL = 32  # padding that is too little to split a batch for, in tokens
_MOST_CELLS = 2**13  # tokens of a batch, padding included: more rows would make it no faster
MOST_PAIRS = 2**22
"""Pairs of tokens in a batch, for which each head has a score: beyond a row or two, long rows go one by one."""


@dataclass(frozen=True)
class Tokens:
    """Texts and their token ids, special tokens included, cut to the model's limit.

    rows: one for each text; never empty.
    left_out: how many tokens at the beginning of each row the pooling leaves out: the prompt, of some models.
    padding_side: "left" or "right", as the model's own tokeniser pads.
    max_seq_length: no batch may be wider.
    vocab_size: ids lie below it.
    """

    texts: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    left_out: tuple[int, ...]
    pad_token_id: int
    padding_side: str
    max_seq_length: int
    vocab_size: int


class Batch(NamedTuple):
    """Rows of tokens in one rectangle: int64 [batch, seq] twice, and which text each row is.

    The mask is 1 on tokens, 2 on those that the pooling leaves out, and 0 on padding.
    """

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]
    rows: tuple[int, ...]


def read_texts(spec: ModelSpec, own: Sequence[str], length: int) -> Tokens:
    """The corpus and the user's own texts as a model's tokeniser cuts them to `length` tokens, special tokens kept."""
    text = msgspec.structs.replace(spec.text, max_seq_length=length)
    return tokenise((*corpus(length), *own), Tokenizer(spec.tokenizer_json, text, spec.vocab_size), spec.zero_ids)


def tokenise(texts: Sequence[str], tokenizer: Tokenizer, zero_ids: frozenset[int] = frozenset()) -> Tokens:
    """Token ids of texts, and where the pooling leaves out a prompt, of some texts with prompts as well.

    A text that gives no token at all, or none to pool but `zero_ids`, is not among them: encoders refuse it.
    """
    asked = [("", list(texts))]
    if not tokenizer.text.include_prompt:
        prompts = [prompt for prompt in tokenizer.text.prompts.values() if prompt] + list(_PROMPTS)
        asked += [(prompt, list(texts[::_EVERY])) for prompt in dict.fromkeys(prompts) if _fits(prompt, tokenizer)]
    entries = [
        (prompt + text, tuple(row), tokenizer.left_out(prompt))
        for prompt, chosen in asked
        for text, row in zip(chosen, tokenizer.ids(chosen, prompt), strict=True)
        if not zero_ids.issuperset(row[tokenizer.left_out(prompt) :])
    ]
    return Tokens(
        texts=tuple(text for text, _, _ in entries),
        rows=tuple(row for _, row, _ in entries),
        left_out=tuple(left_out for _, _, left_out in entries),
        pad_token_id=tokenizer.text.pad_token_id,
        padding_side=tokenizer.text.padding_side,
        max_seq_length=tokenizer.text.max_seq_length,
        vocab_size=tokenizer.vocab_size,
    )


def _fits(prompt: str, tokenizer: Tokenizer) -> bool:
    try:
        return tokenizer.left_out(prompt) > 0
    except InputError:
        return False


def make_batch(tokens: Tokens, rows: Sequence[int], *, length: int = 0, side: str | None = None) -> Batch:
    """Put rows into one batch, in this order.

    Args:
        tokens: where the rows come from.
        rows: their indices.
        length: pad to at least this many tokens.
        side: where the padding goes; the tokeniser's side if not given.
    """
    ids = [tokens.rows[row] for row in rows]
    left_out = [tokens.left_out[row] for row in rows]
    return Batch(*pad(ids, side or tokens.padding_side, tokens.pad_token_id, length, left_out), tuple(rows))


def sorted_batches(tokens: Tokens) -> tuple[Batch, ...]:
    """Every row once, shortest first, in batches that waste little on padding and hold few long rows."""
    return tuple(make_batch(tokens, group) for group in sorted_groups(tokens))


def sorted_groups(tokens: Tokens) -> list[list[int]]:
    """The rows of each of `sorted_batches`, the longest last."""
    groups: list[list[int]] = []
    real = 0
    for row in sorted(range(len(tokens.rows)), key=lambda r: len(tokens.rows[r])):
        length = len(tokens.rows[row])
        padded = (len(groups[-1]) + 1) * length if groups else 0
        full = padded > _MOST_CELLS or padded * length > MOST_PAIRS
        if not groups or full or len(groups[-1]) == _MOST_ROWS or padded > _MOST_PADDING * (real + length) + _SMALL:
            groups.append([])
            real = 0
        groups[-1].append(row)
        real += length
    return groups
