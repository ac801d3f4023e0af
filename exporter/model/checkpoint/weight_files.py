"""Find the weights of a checkpoint, read their shapes, and small files of them whole: all that needs no PyTorch.

Knows no architecture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import safetensors

from exporter.model.checkpoint.json_object import read_object
from poolfold.errors import CheckpointError

_SAFE = "model.safetensors"
_PICKLED = "pytorch_model.bin"
_FLOATS = {
    "F64": ir.DataType.DOUBLE,
    "F32": ir.DataType.FLOAT,
    "F16": ir.DataType.FLOAT16,
    "BF16": ir.DataType.BFLOAT16,
}
"""The dtypes of a layer that is trained, by safetensors' names."""


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
            with safetensors.safe_open(path, framework="np") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError) as error:
            raise corrupt(path, error) from error
    return shapes


def header_dtypes(path: Path) -> dict[str, str]:
    """The dtype of each tensor of a safetensors file by name, as PyTorch calls it.

    Raises:
        CheckpointError: the file is truncated or corrupt.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: _dtype_name(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise corrupt(path, error) from error


def _dtype_name(code: str) -> str:
    """`int8` of safetensors' `I8`, `float8_e4m3` of `F8_E4M3`."""
    kinds = {"BF": "bfloat", "F": "float", "I": "int", "U": "uint", "C": "complex"}
    kind = next((kind for kind in kinds if code.startswith(kind) and code[len(kind)].isdigit()), None)
    return code.lower() if kind is None else kinds[kind] + code.removeprefix(kind).lower()


def read_small_tensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors of a safetensors file by name, float32; for a layer, not for a model.

    Raises:
        CheckpointError: the file is truncated or corrupt; a tensor holds no floats, or a NaN or an infinity.
    """
    try:
        stored = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, OSError) as error:
        raise corrupt(path, error) from error
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for name, entry in stored:
        if entry["dtype"] not in _FLOATS:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {entry['dtype']}; expected one of {', '.join(_FLOATS)}. "
                "Take the checkpoint that it was quantised from."
            )
        flat = np.frombuffer(entry["data"], _FLOATS[entry["dtype"]].numpy())
        tensors[name] = flat.reshape(entry["shape"]).astype(np.float32)
        require_finite(path, name, int((~np.isfinite(tensors[name])).sum()), flat.size)
    return tensors


def require_finite(path: Path, name: str, bad: int, size: int) -> None:
    """Raise CheckpointError where `bad` of the `size` values of a tensor are NaN or infinite."""
    if bad:
        raise CheckpointError(
            f"{path}: tensor {name!r} has {bad} of {size} values that are NaN or infinite. "
            "Restore the checkpoint; such a model gives no usable vectors."
        )


def corrupt(path: Path, error: Exception) -> CheckpointError:
    """The error of a weights file that cannot be read."""
    return CheckpointError(
        f"{path} is truncated or corrupt ({error}). Download the checkpoint again; with git, run `git lfs pull`."
    )


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
