"""Find the weights of a checkpoint and check them: whole files, finite values.

Reads one tensor at a time from memory-mapped files, so the check needs little memory. Knows no architecture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from exporter.checkpoint.json_object import read_object
from poolfold.errors import CheckpointError

_SAFE = "model.safetensors"
_PICKLED = "pytorch_model.bin"
_CHUNK = 1 << 22
"""Values looked at together, where a dtype must be widened first."""


def weight_files(folder: Path, *, allow_pickle: bool = False) -> tuple[Path, ...]:
    """The files that hold the weights: safetensors where there are any, in one file or in shards.

    Raises:
        CheckpointError: there are none, a shard is missing, or all are pickled and `allow_pickle` is false.
    """
    for name in (_SAFE, _PICKLED)[: 2 if allow_pickle else 1]:
        if (folder / name).is_file():
            return (folder / name,)
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder / f"{name}.index.json")
    if pickled := sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt")):
        raise CheckpointError(
            f"{folder} has no {_SAFE}, but {', '.join(pickled)}: pickled, which can run code when it is read. "
            f"Convert it to safetensors, or pass --allow-pickle to read {_PICKLED} as plain tensors."
        )
    raise CheckpointError(f"{folder} has no weights. Expected {_SAFE}, or shards listed in {_SAFE}.index.json.")


def check_weights(folder: Path, *, allow_pickle: bool = False) -> None:
    """Read every tensor once.

    Raises:
        CheckpointError: as `weight_files`; a file is truncated or corrupt; a tensor holds a NaN or an infinity.
    """
    for path in weight_files(folder, allow_pickle=allow_pickle):
        for name, tensor in read_tensors(path):
            if not _is_finite(tensor):
                bad = int((~torch.isfinite(tensor.float())).sum())
                raise CheckpointError(
                    f"{path}: tensor {name!r} has {bad} of {tensor.numel()} values that are NaN or infinite. "
                    "Restore the checkpoint; such a model gives no usable vectors."
                )


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
            raise _corrupt(path, error) from error
        return
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken pickles fail in many ways
        raise _corrupt(path, error) from error
    yield from ((name, value) for name, value in tensors.items() if isinstance(value, torch.Tensor))


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name from the safetensors headers alone; empty where the weights are pickled.

    Raises:
        CheckpointError: there are no weights, or a file is truncated or corrupt.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder, allow_pickle=True):
        if path.suffix != ".safetensors":
            return {}
        try:
            with safe_open(path, framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise _corrupt(path, error) from error
    return shapes


def _shards(index: Path) -> tuple[Path, ...]:
    """The shards that an index lists."""
    table = read_object(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise CheckpointError(f"{index} has no weight_map from tensors to files. Download the checkpoint again.")
    names = sorted(set(table.values()))
    if any(Path(name).name != name for name in names):
        raise CheckpointError(f"{index} lists a file outside its folder. Expected plain file names.")
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise CheckpointError(f"{index} lists {', '.join(missing)}, which is missing. Download the checkpoint again.")
    return tuple(index.parent / name for name in names)


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


def _corrupt(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is truncated or corrupt ({error}). Download the checkpoint again; with git, run `git lfs pull`."
    )
