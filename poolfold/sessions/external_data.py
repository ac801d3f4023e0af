"""The tensors of an ONNX graph that lie in another file: read, and redirected, in the graph's bytes without a library.

Source: onnx.proto3 (ModelProto, GraphProto, TensorProto, StringStringEntryProto); Protocol Buffers, "Encoding".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError
from poolfold.verify.files import OpenFile

_GRAPH, _INITIALIZER, _EXTERNAL_DATA = 7, 5, 13
_KEY, _VALUE = 1, 2
_IN_ANOTHER_FILE = 1
_BYTES, _FIXED = 2, {1: 8, 5: 4}
"""Wire types: a length and as many bytes; a number of fixed width, and that width."""
_IN_MEMORY = "*/_ORT_MEM_ADDR_/*"
"""The location by which ONNX Runtime and OpenVINO know a tensor whose offset is an address in this process."""


@dataclass(frozen=True)
class ExternalTensor:
    """An initializer in another file.

    dtype: ONNX's number of it.
    location: the file, relative to the graph's folder.
    offset, length: bytes; a length of 0 means to the end of the file.
    """

    name: str
    dtype: int
    dims: tuple[int, ...]
    location: str
    offset: int
    length: int

    def of(self, graph: Path, file: OpenFile) -> npt.NDArray[np.uint8]:
        """Its bytes in the file, uint8 [length], without a copy.

        Raises:
            ArtifactError: the file ends before the tensor, whose graph is `graph`.
        """
        whole = np.frombuffer(file.data, np.uint8)
        length = self.length or whole.size - self.offset
        if self.offset < 0 or length < 0 or self.offset + length > whole.size:
            raise ArtifactError(
                f"{graph} places the tensor {self.name!r} at bytes {self.offset} to {self.offset + length} of "
                f"{file.path}, which has {whole.size}. Export the model again."
            )
        return whole[self.offset : self.offset + length]


def external_tensors(graph: memoryview) -> tuple[ExternalTensor, ...]:
    """The initializers of a graph that lie in other files; none where the bytes are no graph, as a runtime will say.

    Args:
        graph: the content of an .onnx file.
    """
    try:
        bodies = [body for number, body, _ in _fields(graph) if number == _GRAPH and isinstance(body, memoryview)]
        messages = [m for body in bodies for number, m, _ in _fields(body) if number == _INITIALIZER]
        tensors = [_external(message) for message in messages if isinstance(message, memoryview)]
    except (IndexError, ValueError):
        return ()
    return tuple(tensor for tensor in tensors if tensor is not None)


def open_weights(
    graph: Path, tensors: Iterable[ExternalTensor], open_file: Callable[[Path], OpenFile]
) -> dict[str, OpenFile]:
    """The files with the external tensors of `graph`, open, by location."""
    locations = dict.fromkeys(tensor.location for tensor in tensors)
    return {location: open_file(Path(os.path.normpath(graph.parent / location))) for location in locations}


def with_addresses(graph: memoryview, addresses: Mapping[str, int]) -> bytes:
    """The graph's bytes with external tensors, by name, redirected to addresses in this process."""

    def redirected(message: memoryview) -> bytes:
        tensor = _external(message)
        if tensor is None or tensor.name not in addresses:
            return bytes(message)
        # Of two entries with one key, the later one counts.
        entries = {"location": _IN_MEMORY, "offset": str(addresses[tensor.name])}
        return bytes(message) + b"".join(_field(_EXTERNAL_DATA, _entry(*pair)) for pair in entries.items())

    return _changed(graph, _GRAPH, lambda body: _changed(body, _INITIALIZER, redirected))


def _external(message: memoryview) -> ExternalTensor | None:
    """The tensor of a message, if it lies in another file."""
    dims: list[int] = []
    entries: dict[str, str] = {}
    name, dtype, place = "", 0, 0
    for number, value, _ in _fields(message):
        match number, value:
            case (1, int()):
                dims.append(value)
            case (1, memoryview()):
                dims += _numbers(value)
            case (2, int()):
                dtype = value
            case (8, memoryview()):
                name = str(value, "utf-8")
            case (13, memoryview()):
                pair = {key: str(text, "utf-8") for key, text, _ in _fields(value) if isinstance(text, memoryview)}
                entries[pair.get(_KEY, "")] = pair.get(_VALUE, "")
            case (14, int()):
                place = value
    if place != _IN_ANOTHER_FILE:
        return None
    offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
    return ExternalTensor(name, dtype, tuple(dims), entries.get("location", ""), offset, length)


def _changed(message: memoryview, field: int, change: Callable[[memoryview], bytes]) -> bytes:
    """A message with each value of a field, a message itself, changed."""
    return b"".join(
        _field(number, change(value)) if number == field and isinstance(value, memoryview) else bytes(whole)
        for number, value, whole in _fields(message)
    )


def _entry(key: str, value: str) -> bytes:
    return _field(_KEY, key.encode()) + _field(_VALUE, value.encode())


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low = bytearray()
    while value > 127:
        low.append(value & 127 | 128)
        value >>= 7
    return bytes([*low, value])


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview, memoryview]]:
    """Number, value and whole of each field; the value of a number of fixed width is 0."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        kind, value = tag & 7, 0
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind in (0, _BYTES):
            value, at = _read_varint(message, at)
        else:
            raise ValueError(f"wire type {kind}")
        end = at + value if kind == _BYTES else at
        if end > len(message):
            raise ValueError("a field ends behind its message")
        yield tag >> 3, message[at:end] if kind == _BYTES else value, message[start:end]
        at = end


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of variable width, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _numbers(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _read_varint(message, at)
        yield value
