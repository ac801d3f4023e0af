"""How alike vectors are, by the measure that a checkpoint names; larger is more alike.

The four measures of sentence-transformers: distances are negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.encoder.tensors import is_tensor, to_numpy, to_tensor
from poolfold.errors import InputError

Vectors = npt.NDArray[np.float32]

_TINY = 1e-12
"""Length of a vector that has none, so that it is alike to nothing."""


def similarity(first: Any, second: Any, measure: str) -> Any:
    """Each of the first with each of the second.

    Args:
        first, second: arrays, tensors or lists of them, [rows, dim] or [dim].
        measure: one of MEASURES.

    Returns:
        float32 [rows of the first, rows of the second]; a tensor where one of the two is.
    """
    a, b = (_rows(vectors) for vectors in (first, second))
    _require_alike(a, b)
    return _as_given(_ALL[measure](a, b), first, second)


def similarity_pairwise(first: Any, second: Any, measure: str) -> Any:
    """Each of the first with the one of the second in its place; arguments as `similarity`.

    Returns:
        float32 [rows]; a tensor where one of the two is.
    """
    a, b = (_rows(vectors) for vectors in (first, second))
    _require_alike(a, b)
    if len(a) != len(b):
        raise InputError(f"got {len(a)} and {len(b)} vectors; expected as many of both, since they are paired.")
    return _as_given(_PAIRS[measure](a, b), first, second)


def read_measure(given: Any) -> str:
    """A measure by its name, or a member of an enumeration whose value that is; None is cosine.

    Raises:
        InputError: there is no such measure.
    """
    measure = getattr(given, "value", given)
    if measure is None:
        return "cosine"
    if measure not in MEASURES:
        why = " It compares vectors of tokens, as a MultiVectorEncoder gives them." if measure == "maxsim" else ""
        raise InputError(f"similarity_fn_name is {measure!r}; expected one of {', '.join(MEASURES)}.{why}")
    return str(measure)


def _rows(vectors: Any) -> Vectors:
    array: Vectors = to_numpy(vectors).astype(np.float32, copy=False)
    return array[None] if array.ndim == 1 else array


def _require_alike(a: Vectors, b: Vectors) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"got vectors of shape {list(a.shape)} and {list(b.shape)}; expected [rows, dim] of one dim.")


def _as_given(scores: Vectors, *given: Any) -> Any:
    return to_tensor(scores) if any(map(is_tensor, given)) else scores


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.float32(_TINY))
    return unit


def _squared(a: Vectors, b: Vectors) -> Vectors:
    """Squared distances, from products: a difference of all pairs would take rows times the memory."""
    squares = (a.astype(np.float64) ** 2).sum(axis=1)[:, None] + (b.astype(np.float64) ** 2).sum(axis=1)
    squared: Vectors = np.maximum(squares - 2 * (a.astype(np.float64) @ b.astype(np.float64).T), 0)
    return squared


def _manhattan(a: Vectors, b: Vectors) -> Vectors:
    if not len(a):
        return np.empty((0, len(b)), np.float32)
    return np.stack([-np.abs(row - b).sum(axis=1) for row in a]).astype(np.float32)


_ALL: Mapping[str, Callable[[Vectors, Vectors], Vectors]] = {
    "cosine": lambda a, b: _unit(a) @ _unit(b).T,
    "dot": lambda a, b: a @ b.T,
    "euclidean": lambda a, b: -np.sqrt(_squared(a, b)).astype(np.float32),
    "manhattan": _manhattan,
}
_PAIRS: Mapping[str, Callable[[Vectors, Vectors], Vectors]] = {
    "cosine": lambda a, b: (_unit(a) * _unit(b)).sum(axis=1),
    "dot": lambda a, b: (a * b).sum(axis=1),
    "euclidean": lambda a, b: -np.linalg.norm(a - b, axis=1),
    "manhattan": lambda a, b: -np.abs(a - b).sum(axis=1),
}
MEASURES = tuple(_ALL)
