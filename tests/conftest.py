"""Artifacts that many tests read and none changes, each exported once a session."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter.artifact.publish import staging
from exporter.host.console import Console
from exporter.pipeline.capture import capture
from exporter.pipeline.export_model import export_model
from exporter.pipeline.make_artifact import make_artifact
from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.spec.options import ExportOptions, Shapes
from exporter.spec.origin import NO_TRUST
from poolfold.manifest import Manifest
from tests.architectures import ARCHITECTURES
from tests.models import DenseLayer, tiny_checkpoint
from tests.openvino_here import DTYPES

TARGETS = ("onnxruntime", "openvino")
EVERY_MODE = ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

Export = Callable[..., Manifest]


def export(model: Path | str, output: Path, **changes: Any) -> Manifest:
    """`poolfold export` without a terminal: every option at its default, fp32, no latency stage."""
    return export_model(_options(model, output, changes), Console(quiet=True))


def export_here(model: Path | str, output: Path, **changes: Any) -> Manifest:
    """The same in this process, which spares the seconds that another takes to import PyTorch."""
    options, console = _options(model, output, changes), Console(quiet=True)
    with staging(output, force=False) as place:
        return make_artifact(options, place, capture(options, place.scratch, console), console)


def _options(model: Path | str, output: Path, changes: dict[str, Any]) -> ExportOptions:
    options: dict[str, Any] = {
        "pooling": ("trained",),
        "dtypes": (DType.FP32,),
        "targets": ("onnxruntime",),
        "shapes": Shapes((1, 4, 8), None, None),
        "texts": (),
        "dimensions": None,
        "revision": None,
        "force": False,
        "skip_latency": True,
        "threads": 1,
        "trust": NO_TRUST,
        "build": BuildOptions(),
    }
    return ExportOptions(model=str(model), output=output, **(options | changes))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT trained with mean, normalised, with prompts."""
    prompts = {"query": "search for: ", "document": ""}
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", pooling="mean", prompts=prompts)


@pytest.fixture(scope="session")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint exported: cls and mean, fp32 and fp16, with engines."""
    output = tmp_path_factory.mktemp("artifact") / "tiny"
    export(
        checkpoint,
        output,
        pooling=("mean", "cls"),
        dtypes=(DType.FP32, DType.FP16),
        targets=("onnxruntime", "tensorrt-rtx"),
    )
    return output


@pytest.fixture(scope="session")
def openvino_artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint exported for OpenVINO too: cls and mean, fp32, and bf16 where this CPU has it."""
    output = tmp_path_factory.mktemp("openvino") / "tiny"
    export(checkpoint, output, pooling=("mean", "cls"), dtypes=DTYPES, targets=TARGETS)
    return output


@pytest.fixture(scope="session")
def dense_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with two dense layers behind a mean pooling, old dialect."""
    dense = (DenseLayer(48, activation="Tanh"), DenseLayer(24, activation="Identity", bias=False))
    return tiny_checkpoint(tmp_path_factory.mktemp("dense") / "tiny", pooling="mean", dialect="old", dense=dense)


def architecture_checkpoint(folder: Path, name: str) -> Path:
    """A tiny checkpoint of one of ARCHITECTURES, nothing normalised."""
    # EmbeddingGemma ends in two layers without bias and activation.
    widths = (64, 32) if name.startswith("gemma3") else ()
    dense = [DenseLayer(width, bias=False, activation="Identity") for width in widths]
    pooling = ARCHITECTURES[name].pooling
    return tiny_checkpoint(folder, architecture=name, pooling=pooling, dense=dense, normalize=False)


@dataclass(frozen=True)
class Exported:
    """A checkpoint and its artifact."""

    checkpoint: Path
    artifact: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """By name: an architecture in fp32 under every mode, exported when it is first asked for; nothing normalised."""

    @functools.cache
    def make(name: str) -> Exported:
        folder = tmp_path_factory.mktemp(name)
        architecture_checkpoint(folder / "model", name)
        export_here(folder / "model", folder / "artifact", pooling=EVERY_MODE, threads=None)
        return Exported(folder / "model", folder / "artifact")

    return make
