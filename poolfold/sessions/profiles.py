"""Choose the optimisation profile that runs a batch, and split the batch into pieces that fit it.

Pure: shapes in, shapes out. An engine accepts only shapes within one of its profiles. A batch of too many rows is
split, a batch of too few is filled with copies of a row, and short rows are padded. None of this changes a vector.
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
"""Lengths are rounded up to a multiple of it: half-precision matrix units need it, and fewer shapes are captured."""


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a batch, which run together in the shape [batch, seq]; the shape may be larger."""

    start: int
    stop: int
    batch: int
    seq: int


@dataclass(frozen=True)
class Split:
    """The pieces of a batch, and the index of the profile that all of them fit."""

    profile: int
    pieces: tuple[Piece, ...]

    @property
    def places(self) -> int:
        """The number of positions that are computed, padding included."""
        return sum(piece.batch * piece.seq for piece in self.pieces)


def split_batch(profiles: Sequence[Profile], batch: int, seq: int) -> Split:
    """Choose the profile that computes the fewest positions; among equals, the one tuned for the nearest shape.

    Args:
        profiles: the profiles of the engine, in its order; at least one.
        batch: number of rows, at least 1.
        seq: tokens of the longest row, at least 1.

    Raises:
        InputError: rows are longer than any profile allows.
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
    """Split the batch into as few pieces of even size as the profile allows."""
    length = max(seq, profile.seq_len.min)
    length = min(-(-length // _MULTIPLE) * _MULTIPLE, profile.seq_len.max)
    count = -(-batch // profile.batch.max)
    bounds = [batch * number // count for number in range(count + 1)]
    pieces = (
        Piece(start, stop, max(stop - start, profile.batch.min), length) for start, stop in itertools.pairwise(bounds)
    )
    return Split(index, tuple(pieces))


def _distance(profile: Profile, split: Split) -> float:
    """The distance of the first piece from the shape that the profile is tuned for, in doublings; 0 where equal."""
    piece = split.pieces[0]
    return abs(math.log2(piece.seq / profile.seq_len.opt)) + abs(math.log2(piece.batch / profile.batch.opt))


def cut(
    input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], piece: Piece
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of a piece in its shape, int64 [piece.batch, piece.seq] twice.

    Padding is appended on the right, so that positions do not change; extra rows are copies of the piece's first row.
    """
    rows = np.arange(piece.start, piece.start + piece.batch)
    rows[piece.stop - piece.start :] = piece.start
    shape = (piece.batch, piece.seq)
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    ids[:, : input_ids.shape[1]] = input_ids[rows]
    mask[:, : input_ids.shape[1]] = attention_mask[rows]
    return ids, mask
