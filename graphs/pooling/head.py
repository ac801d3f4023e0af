"""The head, the modules that follow the pooling: dense layers, normalisation, truncation. Values, no graph.

The exporter builds the PyTorch reference from the same values that `fold_head` writes as nodes. `apply_head` defines
them in numpy: both are tested against it, and it is the reference where there is no PyTorch model.

Source: sentence-transformers, `Dense`, `Normalize`, `truncate_dim`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt


class Activation(StrEnum):
    """Activation of a dense layer, named after its ONNX operator where a single operator computes it."""

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

    weight: float32 [out, in].
    bias: float32 [out] or None.
    residual: None; float32 [out, in], to add the input projected by it; or "identity", to add the input itself.
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
    """Keep the first `dimensions` values, as sentence-transformers' `truncate_dim` does."""

    dimensions: int


Head = tuple[Dense | Normalize | Truncate, ...]
"""The modules after the pooling, in order."""


@dataclass(frozen=True)
class Cut:
    """How many values of a vector are kept, None for all, and whether a vector that had unit length gets it again."""

    dimensions: int | None = None
    renormalize: bool = True


def cut_head(head: Head, cut: Cut) -> Head:
    """The head with a cut as its last; one that was there is replaced. Only behind a Normalize is there one again."""
    if cut.dimensions is None:
        return head
    whole = head
    while whole and isinstance(whole[-1], Truncate):
        whole = whole[:-1]
    normalised = bool(whole) and isinstance(whole[-1], Normalize)
    return (*whole, Truncate(cut.dimensions), *((Normalize(),) if normalised and cut.renormalize else ()))


def cut_of(head: Head) -> Cut:
    """The cut of a head that `cut_head` gave, or that a checkpoint has."""
    places = [place for place, part in enumerate(head) if isinstance(part, Truncate)]
    dimensions = next((part.dimensions for part in head if isinstance(part, Truncate)), None)
    return Cut(dimensions, renormalize=bool(places) and any(isinstance(p, Normalize) for p in head[places[0] :]))


def apply_head(pooled: npt.NDArray[np.floating], head: Head) -> npt.NDArray[np.float32]:
    """Apply the modules after the pooling.

    Args:
        pooled: float [batch, dim].
        head: the modules, in order.

    Returns:
        float32 [batch, dim of the last module]; computed in float64.
    """
    values = pooled.astype(np.float64)
    for module in head:
        match module:
            case Dense():
                values = _dense(values, module)
            case Normalize():
                values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
            case Truncate(dimensions):
                values = values[:, :dimensions]
    return values.astype(np.float32)


def _dense(values: npt.NDArray[np.float64], dense: Dense) -> npt.NDArray[np.float64]:
    """A dense layer on float64 [batch, in]."""
    linear = values @ dense.weight.T.astype(np.float64)
    output = _activate(linear if dense.bias is None else linear + dense.bias, dense.activation)
    if isinstance(dense.residual, np.ndarray):
        return np.asarray(output + values @ dense.residual.T.astype(np.float64))
    return output if dense.residual is None else output + values


def _activate(values: npt.NDArray[np.float64], activation: Activation) -> npt.NDArray[np.float64]:
    match activation:
        case Activation.IDENTITY:
            return values
        case Activation.TANH:
            return np.asarray(np.tanh(values))
        case Activation.SIGMOID:
            return _sigmoid(values)
        case Activation.RELU:
            return np.asarray(np.maximum(values, 0.0))
        case Activation.GELU:
            # numpy has no erf.
            erf = np.vectorize(math.erf, otypes=[np.float64])
            return np.asarray(values * 0.5 * (1 + erf(values / math.sqrt(2))))
        case Activation.SILU:
            return values * _sigmoid(values)


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / (1 + exp(-x)), computed from exp(-|x|), which does not overflow, and is precise where the result is tiny."""
    with np.errstate(under="ignore"):
        small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1.0, small) / (1.0 + small))
