"""Save graphs that share one external data file, and read them back.

An initializer above 1 KiB is written once, even where several graphs hold it, as the same tensor object or as another
one with equal bytes. Tensors are written one at a time, so that a model past 2 GB needs no second copy in memory.
Independent of what the graphs compute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

_INLINE_LIMIT = 1024
"""Bytes. Shape inference and parsers read small constants, so these stay inside the graph."""

_ALIGNMENT = 4096
"""Bytes. One page, so that runtimes can map a tensor without copying it."""

_PIECE = 2**24


def save_graphs(graphs: Mapping[Path, ir.Model], weights: Path) -> Path | None:
    """Write `graphs`, and their large initializers to `weights`, each once. Equal input gives equal bytes.

    The models are not changed.

    Args:
        graphs: path -> graph. Every path lies in the folder of `weights` or in a folder above it, since ONNX requires
            external data to lie in the graph's own folder or below it.
        weights: the external data file.

    Returns:
        `weights`, or None where no initializer was large enough to need it.

    Raises:
        ValueError: `weights` lies outside the folder of a graph.
        FileExistsError: a file exists already; it may be mapped by another process, so it is never overwritten.
    """
    for path in graphs:
        if not weights.parent.is_relative_to(path.parent):
            raise ValueError(
                f"{weights} lies outside {path.parent}: external data must lie beside {path.name} or below it"
            )
    large = [v.const_value for model in graphs.values() for v in model.graph.initializers.values() if _is_large(v)]
    weights.parent.mkdir(parents=True, exist_ok=True)
    offsets: dict[int, int] = {}
    if large:
        with weights.open("xb") as file:
            offsets = _write_tensors(file, [tensor for tensor in large if tensor is not None])
    for path, model in graphs.items():
        location = weights.relative_to(path.parent).as_posix()
        referring = model.clone()
        for value in referring.graph.initializers.values():
            if _is_large(value):
                value.const_value = _reference(value, location, offsets)
        with path.open("xb") as file:
            file.write(ir.serde.serialize_model(referring).SerializeToString(deterministic=True))
    return weights if large else None


def load_graph(path: Path) -> ir.Model:
    """Read a graph; its external data is mapped, not read. It may be a link into another folder, as on the hub."""
    model = ir.load(path)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and Path(tensor.path).is_symlink() and _is_below(tensor.location):
            value.const_value = _behind_links(tensor)
    return model


def _is_below(location: str | os.PathLike[str]) -> bool:
    """Whether a location names a file in the graph's folder or below it."""
    return not Path(location).is_absolute() and ".." not in Path(location).parts


def _behind_links(tensor: ir.ExternalTensor) -> ir.ExternalTensor:
    """The tensor in the file that its path leads to; onnx_ir follows no link out of the graph's folder."""
    file = Path(tensor.path).resolve()
    return ir.ExternalTensor(
        file.name,
        tensor.offset,
        tensor.length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        base_dir=file.parent,
    )


def _is_large(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and tensor.dtype != ir.DataType.STRING and tensor.nbytes > _INLINE_LIMIT


def _reference(value: ir.Value, location: str, offsets: Mapping[int, int]) -> ir.ExternalTensor:
    """The tensor of `value` as a reference into the external data file."""
    tensor = value.const_value
    assert tensor is not None and value.name is not None
    return ir.ExternalTensor(
        location,
        offsets[id(tensor)],
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=value.name,
    )


def _write_tensors(file: BinaryIO, tensors: list[ir.TensorProtocol]) -> dict[int, int]:
    """Write each distinct tensor at an aligned offset; returns the offset of every tensor, by its id."""
    offsets: dict[int, int] = {}
    written: dict[tuple[int, bytes, bytes], list[ir.TensorProtocol]] = {}
    for tensor in tensors:
        if id(tensor) in offsets:
            continue
        data = _bytes(tensor)
        # Tensors with other first or last bytes differ; only the remaining ones are compared whole.
        alike = written.setdefault((data.size, data[:64].tobytes(), data[-64:].tobytes()), [])
        duplicate = next((other for other in alike if _same(_bytes(other), data)), None)
        if duplicate is not None:
            offsets[id(tensor)] = offsets[id(duplicate)]
            continue
        end = file.tell()
        file.write(b"\0" * (-end % _ALIGNMENT))
        offsets[id(tensor)] = file.tell()
        file.write(data.data)
        alike.append(tensor)
    return offsets


def _same(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> bool:
    """Whether two arrays of one length are equal; compared in pieces, since numpy allocates the result's size."""
    pieces = range(0, a.size, _PIECE)
    return all(np.array_equal(a[start : start + _PIECE], b[start : start + _PIECE]) for start in pieces)


def _bytes(tensor: ir.TensorProtocol) -> npt.NDArray[np.uint8]:
    """The bytes of a tensor, uint8 [nbytes]; a view wherever the tensor is contiguous."""
    if tensor.dtype.bitwidth < 8:
        return np.frombuffer(tensor.tobytes(), np.uint8)  # numpy holds one number a byte, the file packs them
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
