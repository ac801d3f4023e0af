"""Symmetric int8: the numbers, in numpy.

A slice of an array (a row of a table, a column of a weight) has one scale, its largest magnitude over 127. No zero
point: 0 stays 0, and -128 is not used.
Source: SmoothQuant (Xiao et al., 2023) for the factors that move magnitude from activations into weights.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST = 127
TINY = 1e-12
"""The least scale: of a slice of zeros."""
_LEAST = 1e-5
"""Magnitudes below it count as it: a channel that no text moved must not get an endless factor."""

Floats = npt.NDArray[np.float32]


def quantize(values: Floats, axis: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """The nearest int8 of each value, and the scales.

    Args:
        values: float32 [rows, columns].
        axis: along which a slice has one scale: 0 for a scale a column, 1 for one a row.

    Returns:
        int8 of the same shape, and the scales, float32 [columns] or [rows].
    """
    scales = np.maximum(np.abs(values).max(axis=axis) / np.float32(LARGEST), np.float32(TINY)).astype(np.float32)
    # In pieces of rows: a table may be a gigabyte, and each step makes a copy.
    whole = np.empty(values.shape, np.int8)
    for start in range(0, len(values), 4096):
        piece = slice(start, start + 4096)
        of_piece = scales if axis == 0 else scales[piece, None]
        whole[piece] = np.clip(np.rint(values[piece] / of_piece), -LARGEST, LARGEST)
    return whole, scales


def smoothing_factors(activations: Floats, weights: Floats, alpha: float) -> Floats:
    """By what each channel of the activations is divided, and the same row of each weight multiplied.

    Args:
        activations: the largest magnitude of each channel on real text, float32 [channels].
        weights: the largest magnitude of each weight row, float32 [channels].
        alpha: 0 gives all rows of the weights the same magnitude, 1 all channels of the activations.

    Returns:
        float32 [channels], positive, of geometric mean 1.
    """
    factors = np.maximum(activations, _LEAST) ** alpha / np.maximum(weights, _LEAST) ** (1 - alpha)
    even: Floats = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return np.clip(even, 1e-3, 1e3)
