"""The package for production: verify an artifact, load it, embed texts. It never imports torch, transformers or onnx.

manifest    the records that the exporter writes, and their JSON
verify      check every file of an artifact against its manifest
tokenise    texts -> input_ids, attention_mask
hub         artifacts of the Hugging Face hub, by their ids
encoder     texts or ids -> vectors, with any session; what a caller may hand over; smaller vectors
sessions    one file or folder per runtime
choice      which strategy, dtype and form of an artifact to run
load        an artifact directory -> Encoder
serve       artifacts over HTTP
triton      an artifact as a model of NVIDIA's Triton
bulk        a class that embeds batches, for Ray, Spark and Dask
errors      every error, with its exit code

The first `load` imports `tokenizers` and the runtime; `import poolfold` does not.
"""

from __future__ import annotations

import os

# Before any import of onnxruntime: 1.32 otherwise writes an id of the device into the home directory, and looks up the
# name of a server that it sends events to. Who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from poolfold.encoder import Encoder
from poolfold.errors import (
    ArtifactError,
    CheckFailed,
    CheckpointError,
    InputError,
    OutOfMemory,
    PoolfoldError,
    TargetUnavailable,
)

# Imported eagerly: a submodule has the same name as the function, and would shadow a lazy attribute.
from poolfold.load import load
from poolfold.verify import verify

__version__: str

__all__ = [
    "ArtifactError",
    "CheckFailed",
    "CheckpointError",
    "Encoder",
    "InputError",
    "OutOfMemory",
    "PoolfoldError",
    "TargetUnavailable",
    "__version__",
    "load",
    "verify",
]


def __getattr__(name: str) -> str:
    """`__version__`, read from the installed package on first access."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        version = metadata.version("poolfold")
    except metadata.PackageNotFoundError:
        version = "0+uninstalled"
    globals()[name] = version
    return version
