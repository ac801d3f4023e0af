"""Symmetric numbers of 8 bits, in numpy.

A slice of an array (a row of a table, a column of a weight) has one scale, its largest magnitude over the number's
largest. No zero point: 0 stays 0, and int8's -128 is not used.
Source: SmoothQuant (Xiao et al., 2023) for the factors that move magnitude from activations into weights; the OCP 8-bit
floating point specification for fp8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

LARGEST = 127
TINY = 1e-12
"""The least scale: of a slice of zeros."""
_LEAST = 1e-5
"""Magnitudes below it count as it: a channel that no text moved must not get an endless factor."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Number:
    """A number of 8 bits.

    name: of the precision.
    dtype: ONNX's.
    largest: the largest magnitude.
    """

    name: str
    dtype: ir.DataType
    largest: int

    @property
    def stored(self) -> np.dtype[Any]:
        """Numpy's type of it."""
        return self.dtype.numpy()

    def scales(self, magnitudes: npt.ArrayLike) -> Floats:
        """By what numbers are multiplied whose largest stands for a magnitude: never 0."""
        scales: Floats = np.maximum(np.asarray(magnitudes, np.float32) / np.float32(self.largest), np.float32(TINY))
        return scales

    def nearest(self, values: Floats) -> npt.NDArray[Any]:
        """The nearest number of each value."""
        kept = np.clip(values, -self.largest, self.largest)
        return (np.rint(kept) if self.dtype.is_integer() else kept).astype(self.stored)


INT8 = Number("int8", ir.DataType.INT8, LARGEST)
FP8 = Number("fp8", ir.DataType.FLOAT8E4M3FN, 448)
"""One bit of sign, four of exponent, three of fraction: steps of a sixteenth to an eighth of the value."""


def quantize(values: Floats, axis: int, number: Number = INT8) -> tuple[npt.NDArray[Any], Floats]:
    """The nearest number of each value, and the scales.

    Args:
        values: float32 [rows, columns].
        axis: along which a slice has one scale: 0 for a scale a column, 1 for one a row.
        number: what each value becomes.

    Returns:
        Numbers of the same shape, and the scales, float32 [columns] or [rows].
    """
    scales = number.scales(np.abs(values).max(axis=axis))
    # In pieces of rows: a table may be a gigabyte, and each step makes a copy.
    whole = np.empty(values.shape, number.stored)
    for start in range(0, len(values), 4096):
        piece = slice(start, start + 4096)
        of_piece = scales if axis == 0 else scales[piece, None]
        whole[piece] = number.nearest(values[piece] / of_piece)
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
