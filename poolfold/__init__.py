"""What production imports: verify an artifact, load it, embed texts. Never torch, transformers or onnx.

manifest    the contract with the exporter: values, and their exact JSON
verify      every file of an artifact against its manifest
tokenise    texts -> input_ids, attention_mask
inputs      what a caller may hand over, and the messages where it is something else
encoder     texts or ids -> vectors, over any session
sessions    one file per runtime
load        an artifact directory -> Encoder
errors      every error, with its exit code

`tokenizers` and the runtime are imported by the first `load`, not by `import poolfold`.
"""

from __future__ import annotations

from poolfold.encoder import Encoder
from poolfold.errors import (
    ArtifactError,
    CheckFailed,
    CheckpointError,
    InputError,
    PoolfoldError,
    TargetUnavailable,
)

# Bound eagerly: the submodule has the function's name, and a lazy attribute would give whichever came first.
from poolfold.load import load
from poolfold.verify import verify

__version__: str

__all__ = [
    "ArtifactError",
    "CheckFailed",
    "CheckpointError",
    "Encoder",
    "InputError",
    "PoolfoldError",
    "TargetUnavailable",
    "__version__",
    "load",
    "verify",
]


def __getattr__(name: str) -> str:
    """`__version__`, read from the installed package when it is first asked for."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        version = metadata.version("poolfold")
    except metadata.PackageNotFoundError:
        version = "0+uninstalled"
    globals()[name] = version
    return version
