"""Find an encoder that somebody else exported: the ONNX file, and the folder that says what it is.

The folder is the file's own, as optimum writes it, or the one above, as on the hub and from sentence-transformers,
where the file lies in `onnx/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common

from exporter.spec.model import GraphFile, Source
from graphs.encoder.foreign_encoder import find_encoder
from graphs.files.weights import load_graph
from poolfold.errors import CheckpointError, InputError

_SMALL = 1024
"""Elements. Passes and converters look into small constants, so these are read."""

_FOLDER = "onnx"
"""Where sentence-transformers and the hub keep graphs, below the model's own folder."""


def resolve_graph(model: str, revision: str | None = None, *, allow_pickle: bool = False) -> Source:
    """An ONNX file, its encoder, and the folder it belongs to.

    Raises:
        InputError: options that belong to a checkpoint.
        CheckpointError: there is no such file, it cannot be read, it is no encoder, or no configuration goes with it.
    """
    path = Path(model).expanduser()
    if not path.is_file():
        raise CheckpointError(f"{model} does not exist. Expected an .onnx file, a checkpoint's folder, or a hub id.")
    if revision is not None:
        raise InputError(f"{model} is a file, and revision {revision!r} was given. Leave the revision out.")
    if allow_pickle:
        raise InputError(f"{model} is read without PyTorch, which alone reads pickles. Leave --allow-pickle out.")
    # Absolute, with its own name: in the hub's cache it links to a blob, and its weights lie beside the link.
    path = path.absolute()
    graph = read_graph(path)
    try:
        encoder = find_encoder(graph)
    except ir.passes.PreconditionError as error:
        raise CheckpointError(f"{model} cannot become an encoder: {error}.") from error
    shapes = {name: _shape(value) for name, value in graph.graph.initializers.items()}
    return Source(
        name=str(path),
        folder=_folder(path),
        revision=f"sha256:{_sha256([path, *_external_files(graph)])}",
        graph=GraphFile(path, encoder, shapes),
    )


def read_graph(path: Path) -> ir.Model:
    """Read an ONNX file, functions inlined, initializers taken out of the inputs; large external data is mapped.

    Raises:
        CheckpointError: the file, or one with its weights, cannot be read.
    """
    try:
        model = load_graph(path)
        common.RemoveInitializersFromInputsPass()(model)
        common.InlinePass()(model)
    except Exception as error:  # broken files fail in many ways
        raise CheckpointError(
            f"{path} cannot be read as an ONNX graph ({error}). Fetch or export it again; with git, run `git lfs pull`."
        ) from error
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor):
            end = (tensor.offset or 0) + tensor.nbytes
            if not Path(tensor.path).is_file():
                raise CheckpointError(
                    f"{path} keeps its weights in {tensor.path}, which is missing. Put it back beside the graph."
                )
            if Path(tensor.path).stat().st_size < end:
                raise CheckpointError(
                    f"{tensor.path} ends before byte {end}, where the tensor {name!r} ends: it is truncated, or "
                    "belongs to another graph. Fetch it again; with git, run `git lfs pull`."
                )
            if tensor.size <= _SMALL:
                value.const_value = ir.tensor(tensor.numpy().copy(), name=name)
    return model


def _folder(path: Path) -> Path:
    """The folder with the model's configuration."""
    beside, above = path.parent, path.parent.parent
    if beside.name == _FOLDER and (above / "modules.json").is_file():
        return above
    for folder in (beside, above):
        if any((folder / name).is_file() for name in ("modules.json", "config.json")):
            return folder
    raise CheckpointError(
        f"{path} has no config.json beside it or in the folder above. Put config.json, tokenizer.json and "
        "tokenizer_config.json there, as optimum does; a graph alone does not say how a text becomes ids."
    )


def _shape(value: ir.Value) -> tuple[int, ...]:
    return tuple(int(dim) for dim in value.const_value.shape.numpy()) if value.const_value is not None else ()


def _external_files(model: ir.Model) -> list[Path]:
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return sorted({Path(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)})


def _sha256(paths: Iterable[Path]) -> str:
    """SHA-256 of files one after the other: of one file, what sha256sum prints."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
