"""Which optimisation profile runs a batch, and in which pieces, so that a batch is rarely refused.

Pure: shapes in, shapes out. An engine takes only shapes within one of its profiles. More rows than it takes are split,
fewer are filled up with copies of a row, and shorter ones are padded: none of that changes a vector.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError
from poolfold.manifest import Profile

_MULTIPLE = 8
"""Lengths are rounded up to what half-precision matrix units fill, which leaves fewer shapes to capture."""


@dataclass(frozen=True)
class Piece:
    """Rows of a batch that run together: rows `start` to `stop` in a shape of [batch, seq], at least as large."""

    start: int
    stop: int
    batch: int
    seq: int


@dataclass(frozen=True)
class Split:
    """A batch's pieces, and the number of the profile that takes them all."""

    profile: int
    pieces: tuple[Piece, ...]

    @property
    def places(self) -> int:
        """Tokens that are computed, padding included."""
        return sum(piece.batch * piece.seq for piece in self.pieces)


def split_batch(profiles: Sequence[Profile], batch: int, seq: int) -> Split:
    """Choose the profile that computes the fewest places, then the one tuned for the nearest shape.

    Args:
        profiles: the engine's, in its order; one at least.
        batch: rows, 1 at least.
        seq: tokens of the longest row, 1 at least.

    Raises:
        InputError: rows longer than any profile takes.
    """
    fitting = [index for index, profile in enumerate(profiles) if seq <= profile.seq_len.max]
    if not fitting:
        allowed = ", ".join(f"{profile.seq_len.min} to {profile.seq_len.max}" for profile in profiles)
        raise InputError(
            f"the longest text has {seq} tokens; this engine takes {allowed}. Shorten it, or build an engine for such "
            "lengths: poolfold build DIR --target T --seq-len MIN:OPT:MAX"
        )
    splits = [(_split(profiles[index], index, batch, seq), index) for index in fitting]
    return min(splits, key=lambda pair: (pair[0].places, len(pair[0].pieces), _distance(profiles[pair[1]], pair[0])))[0]


def _split(profile: Profile, index: int, batch: int, seq: int) -> Split:
    """The batch in as few and as even pieces as a profile takes."""
    length = max(seq, profile.seq_len.min)
    length = min(-(-length // _MULTIPLE) * _MULTIPLE, profile.seq_len.max)
    count = -(-batch // profile.batch.max)
    bounds = [batch * number // count for number in range(count + 1)]
    pieces = (
        Piece(start, stop, max(stop - start, profile.batch.min), length) for start, stop in itertools.pairwise(bounds)
    )
    return Split(index, tuple(pieces))


def _distance(profile: Profile, split: Split) -> float:
    """How far the first piece is from the shape that a profile is tuned for: 0 where it is that, each doubling as 1."""
    piece = split.pieces[0]
    return abs(math.log2(piece.seq / profile.seq_len.opt)) + abs(math.log2(piece.batch / profile.batch.opt))


def cut(
    input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], piece: Piece
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A piece's rows of a batch in its shape, int64 [piece.batch, piece.seq] twice.

    Padding goes behind, where it moves no token from its place; further rows are copies of the piece's first.
    """
    rows = np.arange(piece.start, piece.start + piece.batch)
    rows[piece.stop - piece.start :] = piece.start
    shape = (piece.batch, piece.seq)
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    ids[:, : input_ids.shape[1]] = input_ids[rows]
    mask[:, : input_ids.shape[1]] = attention_mask[rows]
    return ids, mask
