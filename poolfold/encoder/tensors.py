"""PyTorch's tensors, for callers who ask for them. PyTorch is imported then, and not before."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import TargetUnavailable


def to_tensor(array: npt.NDArray[Any]) -> Any:
    """A tensor over the same memory.

    Raises:
        TargetUnavailable: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise TargetUnavailable(
            f"PyTorch is not available here: {error}. It is needed for tensors alone: leave out convert_to_tensor, "
            "convert_to_numpy and output_value, or install it."
        ) from error
    return torch.from_numpy(array)


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or a list of them; no one has a tensor who has not imported PyTorch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, torch.Tensor)


def to_numpy(value: Any) -> npt.NDArray[Any]:
    """The values of an array, a tensor, or a list of them."""
    if is_tensor(value):
        return np.stack([to_numpy(one) for one in value]) if isinstance(value, list | tuple) else _of_tensor(value)
    return np.asarray(value)


def _of_tensor(tensor: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.detach().float().cpu().numpy()
    return array


def device(name: str) -> Any:
    """A device as PyTorch names it, where that is imported; else its name."""
    torch = sys.modules.get("torch")
    return name if torch is None else torch.device(name)
