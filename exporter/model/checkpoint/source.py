"""Find a model: an ONNX file, a folder as it is, or a model of the Hugging Face hub, downloaded at one commit.

Independent of the folder's content, except for which files to download.
"""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from exporter.model.checkpoint.graph_source import resolve_graph
from exporter.spec.model import Source
from exporter.spec.origin import NO_TRUST, ONNX_FILE, Trust, origin_of
from poolfold.errors import CheckpointError, InputError

_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = ("*pytorch_model*.bin",)
_CODE = ("*.py",)
_OTHER_FORMATS = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*", "coreml/*")


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
    return _download(model, revision, (*_FILES, *_PICKLED * trust.allow_pickle, *_CODE * trust.trust_remote_code))


def _download(model: str, revision: str | None, files: tuple[str, ...]) -> Source:
    """Download a model of the hub, or take it from the local cache, where the hub cannot be reached."""
    at = f"{model} at revision {revision!r}" if revision else model
    try:
        snapshot = huggingface_hub.snapshot_download(
            model, revision=revision, allow_patterns=list(files), ignore_patterns=list(_OTHER_FORMATS)
        )
    except HFValidationError:
        raise CheckpointError(
            f"{model} is neither a folder nor a hub id. Expected a folder that exists, or `organisation/name`."
        ) from None
    except GatedRepoError:
        raise CheckpointError(
            f"{at} is gated. Accept its terms on its page at huggingface.co, then run `hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{model} is not a folder here, and the hub has no such public model. "
            "Check the name; for a private model run `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise CheckpointError(f"{model} has no revision {revision!r}. Give a branch, a tag or a commit.") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise CheckpointError(
            f"{at} is not a folder here, not in the local cache, and the hub cannot be reached. "
            "Give a folder, or connect (and unset HF_HUB_OFFLINE)."
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{at} could not be downloaded: {error}. Try again, or give a folder.") from error
    folder = Path(snapshot)
    return Source(name=model, folder=folder, revision=folder.name)
