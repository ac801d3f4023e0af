"""Vectors against PyTorch's in fp32, row by row. Never an average: one bad row must show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LIMITS = {"fp32": 1 - 1e-6, "fp16": 0.999, "bf16": 0.99}
"""The smallest row cosine that is accepted, by precision."""


def smallest_cosine(vectors: Sequence[npt.NDArray[np.float32]], reference: Sequence[npt.NDArray[np.float32]]) -> float:
    """The smallest cosine of a row with the reference's same row, over all batches, each float32 [rows, dim].

    Raises:
        ValueError: a batch of another shape, or a vector that is not finite or is zero.
    """
    smallest = 1.0
    for got, wanted in zip(vectors, reference, strict=True):
        if got.shape != wanted.shape:
            raise ValueError(f"got vectors of shape {list(got.shape)}, expected {list(wanted.shape)}")
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if bad.size:
            raise ValueError(f"the vector of row {bad[0]} of {len(got)} is not finite, or is zero")
        smallest = min(smallest, float(((a * b).sum(axis=1) / lengths).min()))
    return smallest
