"""What stands behind the pooling, in order: dense layers, normalisation, truncation. Values, no graph.

The exporter builds the PyTorch reference from the same values that `fold_head` turns into nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt


class Activation(StrEnum):
    """Activation of a dense layer, named after its ONNX operator where one operator does it all."""

    IDENTITY = "Identity"
    TANH = "Tanh"
    SIGMOID = "Sigmoid"
    RELU = "Relu"
    GELU = "Gelu"
    """The exact one, with erf."""
    SILU = "Silu"
    """x * sigmoid(x)."""


@dataclass(frozen=True)
class Dense:
    """`activation(x @ weight.T + bias)`, plus the residual where there is one.

    weight: float32 [out, in]; bias: float32 [out] or None; residual: None, or float32 [out, in] by which the input is
    projected, or "identity" where the input itself is added.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None
    activation: Activation
    residual: npt.NDArray[np.float32] | str | None = None


@dataclass(frozen=True)
class Normalize:
    """Divide by the L2 norm, or by 1e-12 where the norm is smaller (torch.nn.functional.normalize)."""


@dataclass(frozen=True)
class Truncate:
    """Keep the first `dimensions` values, as sentence-transformers' `truncate_dim` does: no norm follows."""

    dimensions: int


Head = tuple[Dense | Normalize | Truncate, ...]
"""The modules behind the pooling, in order."""
