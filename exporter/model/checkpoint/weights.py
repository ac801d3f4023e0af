"""Check the weights of a checkpoint: whole files, finite values; tell in which dtypes they are stored.

Reads one tensor at a time from memory-mapped files, so the check needs little memory. Knows no architecture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from exporter.model.checkpoint.weight_files import corrupt, header_dtypes, require_finite, weight_files

_CHUNK = 1 << 22
"""Values looked at together, where a dtype must be widened first."""


def check_weights(folder: Path, *, allow_pickle: bool = False) -> None:
    """Read every tensor once.

    Raises:
        CheckpointError: as `weight_files`; a file is truncated or corrupt; a tensor holds a NaN or an infinity.
    """
    for path in weight_files(folder, allow_pickle=allow_pickle):
        for name, tensor in read_tensors(path):
            if not _is_finite(tensor):
                require_finite(path, name, int((~torch.isfinite(tensor.float())).sum()), tensor.numel())


def stored_dtypes(folder: Path, *, allow_pickle: bool = False) -> dict[str, str]:
    """The dtype of every stored tensor by name, as PyTorch calls it; of safetensors the headers alone are read.

    Raises:
        CheckpointError: as `weight_files`; a file is truncated or corrupt.
    """
    dtypes: dict[str, str] = {}
    for path in weight_files(folder, allow_pickle=allow_pickle):
        if path.suffix == ".safetensors":
            dtypes |= header_dtypes(path)
        else:
            dtypes |= {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in read_tensors(path)}
    return dtypes


def read_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a weights file by name, one at a time, in the dtype they are stored in.

    A file that does not end in .safetensors is unpickled, tensors only.

    Raises:
        CheckpointError: the file is truncated or corrupt.
    """
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise corrupt(path, error) from error
        return
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken pickles fail in many ways
        raise corrupt(path, error) from error
    yield from ((name, value) for name, value in tensors.items() if isinstance(value, torch.Tensor))


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all values are finite, in one pass and without a copy for the common dtypes."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    flat = tensor.reshape(-1)
    if tensor.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        chunks: Iterator[torch.Tensor] = iter((flat,))
    else:
        chunks = (chunk.float() for chunk in torch.split(flat, _CHUNK))
    # A NaN passes through the minimum and the maximum; an infinity is one of them.
    return all(math.isfinite(bound) for chunk in chunks for bound in map(float, torch.aminmax(chunk)))
