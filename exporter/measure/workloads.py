"""The batches that are timed: short, 128-token and longest rows, alone and by 32, and ragged rows with padding.

Token ids are random: a model's speed depends on shapes and padding, not on what the tokens say. Knows no runtime.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poolfold.manifest import Text
from poolfold.tokenise import pad

_SHORT, _USUAL, _BATCH = 16, 128, 32
_BATCH_TOKENS = 32 * 512
"""A longer batch takes fewer rows: 32 rows of 8192 tokens would measure the machine's memory, not the model."""


class Batch(NamedTuple):
    """What a model runs at once: int64 [batch, seq] each."""

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Workload:
    """Batches that are timed as one: mostly a single one, or texts that were sorted into several."""

    name: str
    batches: tuple[Batch, ...]

    @property
    def batch(self) -> int:
        """Rows of all batches."""
        return sum(len(batch.input_ids) for batch in self.batches)

    @property
    def seq_len(self) -> int:
        """Columns of the widest batch, padding included."""
        return max(int(batch.input_ids.shape[1]) for batch in self.batches)

    @property
    def tokens(self) -> int:
        """Tokens, padding included."""
        return sum(batch.input_ids.size for batch in self.batches)

    @property
    def real_tokens(self) -> int:
        """Tokens that are not padding."""
        return sum(int(batch.attention_mask.sum()) for batch in self.batches)


def workloads(text: Text, vocab_size: int, tokenizer_json: str, *, seed: int = 0) -> tuple[Workload, ...]:
    """The batches for a model, smallest first.

    Shapes past `text.max_seq_length` are cut to it, and named after the shape they have; no shape comes twice. Rows
    are padded with `text.pad_token_id` on `text.padding_side`. Real tokens are drawn from the embedding table without
    the tokeniser's special tokens: a pad id among them would shift the positions of RoBERTa-like models.

    Args:
        text: the model's limit and padding.
        vocab_size: rows of the embedding table.
        tokenizer_json: the tokeniser, which names its special tokens.
        seed: of the token ids and of the ragged lengths.
    """
    rng = np.random.default_rng(seed)
    limit = text.max_seq_length
    ordinary = ordinary_ids(text, vocab_size, tokenizer_json)

    longest = min(_BATCH, max(1, _BATCH_TOKENS // limit))
    shapes = {(rows, min(seq_len, limit)) for rows in (1, _BATCH) for seq_len in (_SHORT, _USUAL)}
    shapes |= {(1, limit), (longest, limit)}
    lengths = {f"{rows}x{seq_len}": [seq_len] * rows for rows, seq_len in sorted(shapes)}
    seq_len = min(_USUAL, limit)
    ragged = ragged_lengths(rng, _BATCH, seq_len).tolist()
    if min(ragged) < seq_len:
        lengths[f"{_BATCH}x{seq_len} ragged"] = ragged
    made = [Workload(name, (filled(rows, ordinary, text, rng),)) for name, rows in lengths.items()]
    return tuple(sorted(made, key=lambda w: (w.batch * w.seq_len, w.seq_len, w.name)))


def ordinary_ids(text: Text, vocab_size: int, tokenizer_json: str) -> npt.NDArray[np.int64]:
    """Ids of the embedding table that are neither special tokens nor padding, int64 [ids]; arguments as `workloads`."""
    added = json.loads(tokenizer_json).get("added_tokens", [])
    special = [text.pad_token_id, *(token["id"] for token in added if token["special"])]
    return np.setdiff1d(np.arange(vocab_size, dtype=np.int64), special)


def filled(lengths: Sequence[int], ids: npt.NDArray[np.int64], text: Text, rng: np.random.Generator) -> Batch:
    """Rows of so many tokens drawn from `ids`, as wide as the longest, padded as the model's texts are."""
    return Batch(*pad([rng.choice(ids, size=n).tolist() for n in lengths], text.padding_side, text.pad_token_id))


def ragged_lengths(rng: np.random.Generator, rows: int, seq_len: int) -> npt.NDArray[np.int64]:
    """Log-normal row lengths, int64 [rows] in [1, seq_len]: about half of rows * seq_len, the longest fills the row.

    Lengths of real sentences are close to log-normal: many short rows that wait for a few long ones.
    """
    lengths = rng.lognormal(mean=np.log(0.45 * seq_len), sigma=0.6, size=rows)
    lengths[np.argmax(lengths)] = seq_len
    return np.clip(np.rint(lengths), 1, seq_len).astype(np.int64)
