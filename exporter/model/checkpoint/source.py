"""Find a model: an ONNX file, a folder as it is, or a model of the Hugging Face hub, downloaded at one commit.

Independent of the folder's content, except for which files to download.
"""

from __future__ import annotations

from pathlib import Path

from exporter.model.checkpoint.graph_source import resolve_graph
from exporter.spec.model import Source
from exporter.spec.origin import NO_TRUST, ONNX_FILE, Trust, origin_of
from poolfold.errors import CheckpointError, InputError
from poolfold.hub import download

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = ("*pytorch_model*.bin",)
_CODE = ("*.py",)
OTHER_FORMATS = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*", "coreml/*")


def resolve_source(model: str, revision: str | None = None, trust: Trust = NO_TRUST) -> Source:
    """Where the model lies on this machine.

    Args:
        model: an .onnx file, a folder, or a hub id: `name` or `organisation/name`. An existing folder wins.
        revision: branch, tag or commit of a hub id.
        trust: download pickled weights too, or Python files, where they may be used.

    Raises:
        InputError: no name at all, or a revision for a folder.
        CheckpointError: there is no such folder or model, or it cannot be downloaded; as `resolve_graph`.
    """
    if not model.strip():
        raise InputError("The model is an empty name. Give a folder, or a hub id: `organisation/name`.")
    if origin_of(model) is ONNX_FILE:
        return resolve_graph(model, revision, allow_pickle=trust.allow_pickle)
    path = Path(model).expanduser()
    if path.is_dir():
        if revision is not None:
            raise InputError(f"{model} is a folder, and revision {revision!r} was given. Leave the revision out.")
        # Absolute, so that an artifact still tells which folder it came from, wherever it is read.
        return Source(name=str(path.resolve()), folder=path.resolve(), revision=None)
    if path.exists():
        raise CheckpointError(
            f"{model} is a file; expected an .onnx file, or the folder of a checkpoint, such as the one it lies in."
        )
    files = (*FILES, *_PICKLED * trust.allow_pickle, *_CODE * trust.trust_remote_code)
    snapshot = download(model, revision, files, ignore=OTHER_FORMATS, error=CheckpointError)
    return Source(name=model, folder=snapshot, revision=snapshot.name)
