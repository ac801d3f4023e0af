"""What can run an artifact: one record a target, and the only list of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from poolfold.errors import InputError
from poolfold.manifest import Engine
from poolfold.sessions import Opening, Session
from poolfold.sessions.openvino import open_graph as open_in_openvino
from poolfold.sessions.openvino import require_precision
from poolfold.sessions.ort import open_graph as open_in_onnxruntime
from poolfold.sessions.ort_providers import CPU, PROVIDERS
from poolfold.sessions.tensorrt.checks import runs_here
from poolfold.sessions.tensorrt.library import load_module
from poolfold.sessions.tensorrt.session import open_engine


class Rounding(StrEnum):
    """How what a graph in 8 bits multiplies is rounded."""

    ROWS = "rows"
    """By the graph, each row (token) at a scale of its own."""
    GROUPS = "groups"
    """By the target itself, in groups of a row's channels, where the CPU multiplies int8; the graph has the weights."""
    STATIC = "static"
    """By the graph, at one scale that calibration found."""


class Runs(StrEnum):
    """What a target runs."""

    GRAPH = "graph"
    """Each graph of the artifact, as it is."""
    COMPILED = "compiled"
    """A graph, compiled in memory when it is opened. The manifest lists what was compiled and checked."""
    ENGINE = "engine"
    """An engine file, built beforehand, on a GPU."""


@dataclass(frozen=True)
class Target:
    """Everything that differs between targets. `exporter/targets/<module>.py` says what is here, and builds.

    name: as users write it.
    dtypes: precisions, the one to recommend first; `why` stands against the others, for a message.
    runs: what it runs.
    open: opens a session of a graph or an engine.
    prepare: imports the libraries that `open` needs, so that what they take in memory can be told from the model.
    tiles_attention: whether it computes attention without all scores of a layer in memory.
    rounding: how what its graphs in 8 bits multiply is rounded; None where it has none.
    runs_here: whether an engine's library and GPU are here; asked of engine files only.
    providers: what ONNX Runtime may compute with; `cpu` alone for other runtimes.
    libraries: modules that `open` imports.
    distributions: Python distributions whose versions stand beside every number.
    extra: of poolfold, which brings them; None where the base install does.
    """

    name: str
    dtypes: tuple[str, ...]
    why: str
    runs: Runs
    open: Callable[[Opening], Session]
    prepare: Callable[[], object]
    libraries: tuple[str, ...]
    distributions: tuple[str, ...]
    extra: str | None
    tiles_attention: bool = False
    rounding: Rounding | None = None
    runs_here: Callable[[Engine], bool] = lambda _: True
    providers: tuple[str, ...] = (CPU,)

    @property
    def module(self) -> str:
        """The file of the target in exporter/targets, without its suffix."""
        return self.name.replace("-", "_")

    @property
    def has_engine_files(self) -> bool:
        """Whether it runs engine files."""
        return self.runs is Runs.ENGINE

    @property
    def tokens_only_form(self) -> str:
        """The form that computes real tokens only, as this target runs it."""
        return "packed" if self.has_engine_files else "padding-free"

    def device(self, provider: str = CPU) -> str:
        """Where it computes: `gpu`, or what ONNX Runtime computes with."""
        return "gpu" if self.has_engine_files else provider


TARGETS = (
    Target(
        name="onnxruntime",
        dtypes=("fp32", "fp16", "int8"),
        why="ONNX Runtime runs a graph in the precision that it has",
        runs=Runs.GRAPH,
        open=open_in_onnxruntime,
        prepare=lambda: importlib.import_module("onnxruntime"),
        libraries=("onnxruntime",),
        distributions=("onnxruntime", "onnxruntime-gpu"),
        extra=None,
        rounding=Rounding.ROWS,
        providers=PROVIDERS,
    ),
    Target(
        name="openvino",
        dtypes=("fp32", "bf16", "int8"),
        why="OpenVINO executes the fp32 graph; asked for fp16, it computes in fp32 or bf16 on CPUs without fp16, and "
        "does not say so",
        runs=Runs.COMPILED,
        open=open_in_openvino,
        # It loads the CPU plugin too.
        prepare=lambda: require_precision("fp32"),
        libraries=("openvino",),
        distributions=("openvino",),
        extra="openvino",
        tiles_attention=True,
        rounding=Rounding.GROUPS,
    ),
    Target(
        name="tensorrt",
        dtypes=("fp16",),
        why="TensorRT has fused attention kernels in half precision only",
        runs=Runs.ENGINE,
        open=open_engine,
        prepare=lambda: load_module("tensorrt"),
        libraries=("tensorrt",),
        distributions=("tensorrt",),
        extra="tensorrt",
        runs_here=runs_here,
    ),
    Target(
        name="tensorrt-rtx",
        dtypes=("fp16", "int8", "fp8"),
        why="TensorRT-RTX builds attention in half precision only",
        runs=Runs.ENGINE,
        open=open_engine,
        prepare=lambda: load_module("tensorrt-rtx"),
        libraries=("tensorrt_rtx",),
        distributions=("tensorrt-rtx-cu13",),
        extra="tensorrt-rtx",
        rounding=Rounding.STATIC,
        runs_here=runs_here,
    ),
)


def find_target(name: str) -> Target:
    """The target of a name.

    Raises:
        InputError: there is none.
    """
    for target in TARGETS:
        if target.name == name:
            return target
    raise InputError(f"unknown target {name!r}; expected one of {', '.join(target.name for target in TARGETS)}.")


def has_engine_files(name: str) -> bool:
    """Whether a target that a manifest names runs engine files; False for one that this release does not know."""
    return any(target.name == name and target.has_engine_files for target in TARGETS)
