"""Find a model: an ONNX file, a folder as it is, or a model of the Hugging Face hub, downloaded at one commit.

Independent of the folder's content, except for which files to download.
"""

from __future__ import annotations

from pathlib import Path

from exporter.model.checkpoint.graph_source import resolve_graph
from exporter.spec.model import Source
from exporter.spec.origin import NO_TRUST, ONNX_FILE, Trust, origin_of
from poolfold.errors import CheckpointError, InputError
from poolfold.hub import download, full_name
from poolfold.manifest import is_artifact, read_manifest

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = ("*pytorch_model*.bin",)
_CODE = ("*.py",)
TRANSFORMER_WEIGHTS = ("model*.safetensors", "0_*/*.safetensors", "pytorch_model*.bin", "0_*/*.bin")
"""Its weights, in either dialect of sentence-transformers. Those of dense layers are small."""
OTHER_FORMATS = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*", "coreml/*")


def resolve_source(model: str, revision: str | None = None, trust: Trust = NO_TRUST, *, weights: bool = True) -> Source:
    """Where the model lies on this machine.

    Args:
        model: an .onnx file, a folder, or a hub id: `name` or `organisation/name`. An existing folder wins.
        revision: branch, tag or commit of a hub id.
        trust: download pickled weights too, or Python files, where they may be used.
        weights: False does not download the transformer's, of a hub id.

    Raises:
        InputError: no name at all, or a revision for a folder.
        CheckpointError: there is no such folder or model, or it cannot be downloaded; an artifact of poolfold; as
            `resolve_graph`.
    """
    if not model.strip():
        raise InputError("The model is an empty name. Give a folder, or a hub id: `organisation/name`.")
    if origin_of(model) is ONNX_FILE:
        return resolve_graph(model, revision, allow_pickle=trust.allow_pickle)
    path = Path(model).expanduser()
    if path.is_dir():
        _require_no_artifact(model, path)
        if revision is not None:
            raise InputError(f"{model} is a folder, and revision {revision!r} was given. Leave the revision out.")
        # Absolute, so that an artifact still tells which folder it came from, wherever it is read.
        return Source(name=str(path.resolve()), folder=path.resolve(), revision=None)
    if path.exists():
        raise CheckpointError(
            f"{model} is a file; expected an .onnx file, or the folder of a checkpoint, such as the one it lies in."
        )
    files = (*FILES, *_PICKLED * trust.allow_pickle, *_CODE * trust.trust_remote_code)
    ignore = OTHER_FORMATS if weights else (*OTHER_FORMATS, *TRANSFORMER_WEIGHTS)
    name = full_name(model, revision)
    snapshot = download(name, revision, files, ignore=ignore, error=CheckpointError)
    _require_no_artifact(name, snapshot)
    return Source(name=name, folder=snapshot, revision=snapshot.name)


def _require_no_artifact(name: str, folder: Path) -> None:
    if is_artifact(folder):
        source = read_manifest(folder).model.source
        raise CheckpointError(
            f"{name} is an artifact of poolfold, made from {source}; expected a model. Give {source}; for engines of "
            f"the artifact's own graphs run `poolfold build {name} --target ...`."
        )
