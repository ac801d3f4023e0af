"""Two sets of vectors of the same texts, row by row, and the limits that each precision is held to.

Pure numpy. Never an average over rows and never one cosine of everything: a single bad row must show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.spec.model import DType
from poolfold.sessions.outputs import refused_rows

NEIGHBOURS = 10
_ROWS_AT_ONCE = 512

Vectors = npt.NDArray[np.floating]
PerRow = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """What one precision is held to.

    cosine: smallest cosine of a row with PyTorch's, also where ids are padded on the other side.
    difference: largest absolute difference between rows of unit length; None where it is reported and not judged.
    neighbours: smallest share of a text's nearest neighbours that agree; None where it is reported and not judged.
    same_text: smallest cosine between two vectors of one text, from different batches.
    mean, neighbours_mean: the smallest averages of cosine and neighbours over all texts; None where the worst text is
        all that is judged.
    behind_prompt: smallest cosine between a text's vector behind a folded prompt and that of the whole run.
    tie: similarities that differ by no more count as equal; more than rounding moves them by on a six-layer BERT, and
        far less than what tells one text from another.
    """

    cosine: float
    difference: float | None
    neighbours: float | None
    same_text: float
    behind_prompt: float
    tie: float
    mean: float | None = None
    neighbours_mean: float | None = None


LIMITS: Mapping[DType, Limits] = {
    DType.FP32: Limits(1 - 1e-6, difference=1e-5, neighbours=1.0, same_text=1 - 1e-6, behind_prompt=1 - 1e-6, tie=1e-5),
    DType.FP16: Limits(0.999, difference=None, neighbours=0.99, same_text=0.9999, behind_prompt=0.9999, tie=1e-3),
    # Three bits fewer than fp16: eight times the rounding, and a cosine's distance from 1 grows with its square.
    DType.BF16: Limits(0.995, difference=None, neighbours=0.99, same_text=0.999, behind_prompt=0.999, tie=1e-2),
}


def int8_limits(floor: float) -> Limits:
    """What int8 and fp8 are held to.

    A sum in another order may round a value the other way, and every layer behind it rounds anew: in 24 layers with
    random weights one text moved by 7e-5 with its place in a batch, of the 4e-3 that int8 cost. A scale that the batch
    shares moves vectors by 1e-2 and more.

    Args:
        floor: the smallest cosine that any text may have, `--int8-floor`.
    """
    return Limits(
        cosine=floor,
        difference=None,
        neighbours=None,
        same_text=0.999,
        # The prompt's keys and values are computed in fp32.
        behind_prompt=floor,
        tie=1e-3,
        mean=(1 + floor) / 2,
        neighbours_mean=0.9,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """One value a row. A row that is not finite or has no length gets the worst value there is.

    cosine: with the reference, in [-1, 1].
    difference: largest absolute difference, both scaled to unit length, in [0, 2].
    neighbours: share of the nearest neighbours that agree, in [0, 1].
    unusable: the candidate's row holds a NaN or an infinity, or is zero.
    """

    cosine: PerRow
    difference: PerRow
    neighbours: PerRow
    unusable: npt.NDArray[np.bool_]


def compare(reference: Vectors, candidate: Vectors, tie: float) -> Comparison:
    """Compare vectors of the same texts.

    Args:
        reference: [texts, dim], every row finite and not zero; at least two rows.
        candidate: [texts, dim].
        tie: similarities that differ by no more count as equal.

    Raises:
        ValueError: shapes that differ, fewer than two rows, or a reference row that is not finite or is zero.
    """
    if reference.ndim != 2 or reference.shape != candidate.shape or len(reference) < 2:
        raise ValueError(
            f"reference {reference.shape} and candidate {candidate.shape}; expected one [texts, dim], texts >= 2"
        )
    if refused_rows(reference).any():
        raise ValueError(
            f"reference rows {np.flatnonzero(refused_rows(reference)).tolist()} are not finite or are zero"
        )
    bad = refused_rows(candidate)
    wanted, got = _unit(reference), _unit(candidate)
    difference = np.abs(wanted - got).max(axis=1)
    neighbours = _agreement(wanted, got, tie)
    return Comparison(
        cosine=cosines(reference, candidate),
        difference=np.where(bad, 2.0, difference),
        neighbours=np.where(bad, 0.0, neighbours),
        unusable=bad,
    )


def cosines(one: Vectors, other: Vectors) -> PerRow:
    """Cosine of each row with the same row of the other, float64 [rows]; -1 where either is not finite or is zero."""
    cosine = np.clip((_unit(one) * _unit(other)).sum(axis=1), -1, 1)
    return np.where(refused_rows(one) | refused_rows(other), -1.0, cosine)


def _unit(vectors: Vectors) -> PerRow:
    """Rows of unit length, float64; zeros where a row is unusable."""
    rows = np.where(refused_rows(vectors)[:, None], 0.0, vectors.astype(np.float64))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: PerRow = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return unit


def _agreement(wanted: PerRow, got: PerRow, tie: float) -> PerRow:
    """Share of each row's nearest neighbours that agree.

    A text's neighbours are the 10 other texts (all of them, where there are fewer) with the largest cosine. One of the
    candidate's agrees if the reference ranks it among its own, or within `tie` of the last of them; and the other way
    round. The smaller of the two shares counts: a neighbour that was lost shows in one, one that intruded in the other.
    """
    count = min(NEIGHBOURS, len(wanted) - 1)
    shares = np.empty(len(wanted))
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(wanted)))
        sides = []
        for vectors in (wanted, got):
            similarity = vectors[rows] @ vectors.T
            similarity[np.arange(len(rows)), rows] = -np.inf
            nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
            last = np.take_along_axis(similarity, nearest, axis=1).min(axis=1)
            sides.append((nearest, similarity >= last[:, None] - tie))
        (wanted_nearest, wanted_near), (got_nearest, got_near) = sides
        kept = np.take_along_axis(got_near, wanted_nearest, axis=1).mean(axis=1)
        right = np.take_along_axis(wanted_near, got_nearest, axis=1).mean(axis=1)
        shares[rows] = np.minimum(kept, right)
    return shares
