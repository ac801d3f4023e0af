"""The same rows asked for in other ways, none of which may change a vector.

Which rows is a seeded choice of a few, so that the cost stays bounded however many texts a user adds; it always holds
the shortest row and a long one. Padding goes as far as the model allows.
"""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from exporter.parity.tokens import MOST_PAIRS, Batch, Tokens, make_batch

_ALONE = 10
_PADDED = 2
_REORDERED = 7
_OTHER_SIDE = 12
_OTHER_SIDE_BATCH = 6
_MASKED = 8


def alone(tokens: Tokens) -> tuple[Batch, ...]:
    """A text in a batch of its own, without any padding."""
    return tuple(make_batch(tokens, [row]) for row in _some(tokens, _ALONE))


def padded(tokens: Tokens) -> tuple[Batch, ...]:
    """The tokeniser's padding in several amounts: one token, an odd number, as much again, and up to the limit.

    Empty where even the shortest row is as long as the limit.
    """
    rows = _some(tokens, _PADDED)
    widest = max(len(tokens.rows[row]) for row in rows)
    lengths = sorted({min(n, tokens.max_seq_length) for n in (widest + 1, widest + 7, 2 * widest)} - {widest})
    # The limit may be thousands of tokens, so a single row goes that far.
    longest = [row for row in rows if len(tokens.rows[row]) < tokens.max_seq_length][-1:]
    return (
        *(make_batch(tokens, rows, length=length) for length in lengths),
        *(make_batch(tokens, [row], length=tokens.max_seq_length) for row in longest),
    )


def reordered(tokens: Tokens) -> tuple[Batch, ...]:
    """Rows of mixed lengths in one batch, longest first, and shuffled."""
    rows = _some(tokens, _REORDERED)
    shuffled = random.Random(1).sample(rows, len(rows))
    return make_batch(tokens, rows[::-1]), make_batch(tokens, shuffled)


def other_side(tokens: Tokens) -> tuple[Batch, ...]:
    """Rows of mixed lengths, padded on the side where the tokeniser does not pad; one of them up to the limit.

    That one lies an odd number of tokens from its usual place: bf16 counts to 256, and from there in twos and fours, so
    that a position computed in it is another one there.
    """
    rows = _some(tokens, _OTHER_SIDE)
    side = "right" if tokens.padding_side == "left" else "left"
    count = -(-len(rows) // _OTHER_SIDE_BATCH)
    batches = []
    for start in range(count):
        group = rows[start::count]
        length = min(max(len(tokens.rows[row]) for row in group) + 1, tokens.max_seq_length)
        batches.append(make_batch(tokens, group, length=length, side=side))
    odd = [row for row in rows if (tokens.max_seq_length - len(tokens.rows[row])) % 2]
    # The limit may be thousands of tokens, so a single row goes that far.
    return (*batches, make_batch(tokens, (odd or rows)[:1], length=tokens.max_seq_length, side=side))


def masked(tokens: Tokens, where: str) -> tuple[Batch, Batch]:
    """Two batches that differ in nothing but the ids under mask 0: the usual ones, and random ones.

    Args:
        tokens: the texts.
        where: `right` or `left`, where the padding is; `holes`, tokens masked inside the texts.
    """
    rows = _some(tokens, _MASKED)
    if where == "holes":
        whole = make_batch(tokens, rows)
        batch = whole._replace(attention_mask=_with_holes(whole.attention_mask))
        changed = batch.attention_mask != whole.attention_mask
    else:
        length = min(max(len(tokens.rows[row]) for row in rows) + 3, tokens.max_seq_length)
        batch = make_batch(tokens, rows, length=length, side=where)
        changed = batch.attention_mask == 0
    others = np.random.default_rng(0).integers(0, tokens.vocab_size, batch.input_ids.shape)
    return batch, batch._replace(input_ids=np.where(changed, others, batch.input_ids))


def _with_holes(mask: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The mask with every third token inside a row taken out, where one that is pooled is left."""
    number = np.cumsum(mask != 0, axis=1)
    holes = np.where((number % 3 == 2) & (number < number[:, -1:]), 0, mask)
    return np.where((holes == 1).any(axis=1, keepdims=True), holes, mask)


def _some(tokens: Tokens, count: int) -> list[int]:
    """At most `count` rows, shortest first: the shortest of all, one longer than most, and others by chance.

    Two where that one is so long that no batch could hold more.
    """
    by_length = sorted(range(len(tokens.rows)), key=lambda row: len(tokens.rows[row]))
    longer = len(by_length) * 9 // 10
    count = min(count, max(2, MOST_PAIRS // len(tokens.rows[by_length[longer]]) ** 2))
    fixed = {by_length[0], by_length[longer]}
    others = [row for row in by_length[:longer] if row not in fixed]
    chosen = random.Random(0).sample(others, min(count - len(fixed), len(others)))
    return sorted([*fixed, *chosen], key=lambda row: (len(tokens.rows[row]), row))
