"""How close a student's vectors are to its teacher's on some texts: before training, after it, on other domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.quality import nearest, unit_rows

Matrix = npt.NDArray[np.float32]

_NEIGHBOURS = 10
_MOST = 2000
"""Texts whose similarities are all held at once; more tell no more."""


@dataclass(frozen=True)
class Closeness:
    """A student beside its teacher.

    texts: how many were looked at.
    cosine: mean over texts of the cosine of the two vectors.
    spearman: of the similarities of every two texts, by the one and by the other; 0 where one has them all alike.
    neighbours: share of each text's ten nearest others that are the same.
    """

    texts: int
    cosine: float
    spearman: float
    neighbours: float


def closeness(student: Matrix, teacher: Matrix) -> Closeness:
    """Compare vectors of the same texts, float32 [texts, dim] each; of many texts, evenly spread ones."""
    from scipy.stats import spearmanr

    chosen = np.linspace(0, len(student) - 1, min(len(student), _MOST)).astype(int)
    ours, theirs = unit_rows(student[chosen]), unit_rows(teacher[chosen])
    mine, given = ours @ ours.T, theirs @ theirs.T
    above = np.triu_indices(len(chosen), k=1)
    wanted = min(_NEIGHBOURS, len(chosen) - 1)
    for similar in (mine, given):
        np.fill_diagonal(similar, -np.inf)
    shared = [len(set(a) & set(b)) for a, b in zip(nearest(mine, wanted), nearest(given, wanted), strict=True)]
    return Closeness(
        len(chosen),
        float((ours * theirs).sum(axis=1).mean()),
        # Who puts every text in one place tells nothing of their order.
        0.0 if 0 in (np.ptp(mine[above]), np.ptp(given[above])) else float(spearmanr(mine[above], given[above])[0]),
        float(np.mean(shared) / wanted),
    )
