"""Which rows of an output are never handed out: what `Output.refused` names, found in an array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from poolfold.manifest import EMBEDDING, Output

Rows = npt.NDArray[np.floating]


def _any(places: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Rows with any place marked: bool [rows, dim] -> bool [rows]."""
    marked: npt.NDArray[np.bool_] = np.asarray(places.any(axis=1))
    return marked


_NOT_FINITE = "not finite (NaN or infinity)"
_CHECKS: Mapping[str, tuple[str, Callable[[Rows], npt.NDArray[np.bool_]]]] = {
    "nan": (_NOT_FINITE, lambda rows: _any(np.isnan(rows))),
    "infinity": (_NOT_FINITE, lambda rows: _any(np.isinf(rows))),
    "zero": ("zero", lambda rows: ~_any(rows != 0)),
}
"""What may be refused -> how a message calls it, and the rows that hold it: float [rows, dim] -> bool [rows]."""


def refusals(vectors: Rows, output: Output = EMBEDDING) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Each reason to refuse rows of float [rows, dim], in words, with the indices of those rows."""
    # Squares that add up to a finite number above 0 leave nothing to refuse, and take one look instead of a dozen: with
    # caches that the model has just filled, 0.2 ms instead of 0.28.
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if ((squares > 0) & (squares < np.inf)).all():
        return
    for reason in dict.fromkeys(_CHECKS[kind][0] for kind in output.refused):
        kinds = [kind for kind in output.refused if _CHECKS[kind][0] == reason]
        rows = np.flatnonzero(np.logical_or.reduce([_CHECKS[kind][1](vectors) for kind in kinds]))
        if rows.size:
            yield reason, rows


def refused_rows(vectors: Rows, output: Output = EMBEDDING) -> npt.NDArray[np.bool_]:
    """Rows that hold anything that the output refuses: float [rows, dim] -> bool [rows]."""
    refused = np.zeros(len(vectors), dtype=np.bool_)
    for _, rows in refusals(vectors, output):
        refused[rows] = True
    return refused
