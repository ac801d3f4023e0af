"""A target that stands in for a new one: its record here, and as the file that `exporter/targets` would hold.

It compiles a graph in memory, by handing it to ONNX Runtime as it is.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.targets.interface import Availability, EngineRequest, every_precision, no_options
from poolfold.manifest import Engine
from poolfold.sessions import Opening, Session, targets
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.sessions.targets import Runs, Target

NAME = "stand-in"
require_precision, require_supported = every_precision, no_options
__all__ = ["BuildOptions", "DType", "availability", "make_engine", "record", "register"]


def open_graph(opening: Opening) -> Session:
    return OnnxRuntimeSession(opening.directory / opening.path, threads=opening.threads)


def record() -> Target:
    return Target(
        name=NAME,
        dtypes=("fp32",),
        why="the stand-in computes in fp32",
        runs=Runs.COMPILED,
        open=open_graph,
        prepare=lambda: importlib.import_module("onnxruntime"),
        libraries=("onnxruntime",),
        distributions=("onnxruntime",),
        extra="stand-in",
    )


def register() -> None:
    """All that a new target needs: its record in the list, and its file in the folder."""
    import exporter.targets

    targets.TARGETS = (*targets.TARGETS, record())
    exporter.targets.__path__.append(str(Path(__file__).parent / "stand_in_targets"))


def availability() -> Availability:
    return Availability(NAME, available=True, version="1.0", reason=None, does="runs graphs in place of a new target")


def make_engine(request: EngineRequest) -> Engine:
    return Engine(
        path=request.source,
        target=NAME,
        strategy=request.graph.strategy,
        dtype=request.dtype,
        status="built",
        graph=request.source,
        form=request.form,
        library=NAME,
        library_version="1.0",
        compute_capabilities=(),
        version_compatible=False,
        hardware_compatibility="none",
        stripped=False,
        profiles=(),
        contents=None,
        attention_layers=request.graph.attention_layers,
        attention_fused=0,
        build_seconds=0.0,
        warnings=(),
    )
