"""The largest magnitude of a constant, computed once per tensor and cached in its metadata."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_KEY = "poolfold.largest_magnitude"


def largest_magnitude(tensor: ir.TensorProtocol) -> float:
    """The largest magnitude in a float tensor; NaN where it holds one, 0 where it is empty."""
    if _KEY not in tensor.meta:
        array = tensor.numpy()
        # Not abs(array).max(): that would copy the weights.
        tensor.meta[_KEY] = float(np.maximum(array.max(), -array.min())) if array.size else 0.0
    return float(tensor.meta[_KEY])
