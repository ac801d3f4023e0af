"""What a model comes from: a PyTorch checkpoint or an ONNX file. One record each; nothing else asks which it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from poolfold.errors import InputError
from poolfold.manifest import Model


@dataclass(frozen=True)
class Trust:
    """What a user allows a model to do.

    allow_pickle: load pickled weights, which may run code.
    trust_remote_code: run Python code that the checkpoint brings along.
    """

    allow_pickle: bool = False
    trust_remote_code: bool = False


NO_TRUST = Trust()
"""Neither: the default."""


class TokenizerSource(StrEnum):
    """Whose ids a text gets where tokenizer.json as published and the installed transformers differ."""

    FILE = "file"
    TRANSFORMERS = "transformers"

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise InputError(f"tokenizer is {value!r}; expected {' or '.join(map(repr, map(str, cls)))}.")


@dataclass(frozen=True)
class Origin:
    """How a kind of model gives its encoder, its reference vectors and the baseline of latency.

    stage: what getting the encoder is called while it runs.
    model: `module:class` of exporter/model that opens a model of this kind: `class(spec, threads)`, with `encoder` and
        `reference`.
    without: libraries that its process must not import.
    baseline: the runtime that graphs made from it are compared with, and `whose` time that is, for people.
    load_baseline: `module:function` by which a measuring process loads that.
    """

    stage: str
    model: str
    without: tuple[str, ...]
    baseline: str
    whose: str
    load_baseline: str


CHECKPOINT = Origin(
    stage="trace",
    model="exporter.model.from_checkpoint:CheckpointModel",
    without=(),
    baseline="pytorch",
    whose="PyTorch's",
    load_baseline="exporter.measure.load_pytorch:load",
)
ONNX_FILE = Origin(
    stage="convert",
    model="exporter.model.from_onnx_file:OnnxFileModel",
    without=("torch",),
    baseline="original graph",
    whose="the original graph's (ONNX Runtime, pooled in numpy)",
    load_baseline="exporter.measure.load_original:load",
)
BASELINES = {origin.baseline: origin.whose for origin in (CHECKPOINT, ONNX_FILE)}
"""Runtimes that others are compared with, and whose time that is."""


def origin_of(model: str) -> Origin:
    """What a user's MODEL means, whether it is there or not."""
    path = Path(model).expanduser()
    return ONNX_FILE if path.suffix.lower() == ".onnx" and not path.is_dir() else CHECKPOINT


def source_of(model: Model) -> str:
    """Where the manifest says that the model is: a hub id, or the path that artifacts of 0.2.0 have.

    Raises:
        InputError: it has the bare name of a folder or a file, which may lie anywhere.
    """
    is_of_hub = model.revision is not None and origin_of(model.source) is not ONNX_FILE
    if is_of_hub or Path(model.source).is_absolute():
        return model.source
    raise InputError(
        f"The model that the artifact came from is needed for comparison: {model.source}, which is no hub id. Say "
        "where it is with --model."
    )
