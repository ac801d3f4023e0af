"""What `exporter/targets/<target>.py` has for the rest of the exporter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType, Form
from poolfold.manifest import Engine, Graph, Profile

Progress = Callable[[str, float], None]
"""Called with (phase, fraction done); an exception that it raises ends the work."""


@dataclass(frozen=True)
class Availability:
    """Whether a target works on this machine.

    name: as `--target` takes it.
    available: whether its library loads here.
    version: of the library; None where it does not load.
    reason: why it is not available, and what to do; None where it is.
    does: what it can do here, in one phrase.
    """

    name: str
    available: bool
    version: str | None
    reason: str | None
    does: str


@dataclass(frozen=True)
class EngineRequest:
    """An engine to make.

    directory: the artifact; a file of the engine's own is written into it.
    graph: what the manifest says of the graph.
    form: which form of it, whose file is `source`, relative to the artifact.
    dtype: the precision to compute in.
    profiles: the shapes that the engine accepts.
    options: how to build.
    threads: of a run, for what is compiled in memory; None leaves it to the runtime.
    progress: called while the engine is made.
    """

    directory: Path
    graph: Graph
    form: Form
    source: str
    dtype: DType
    profiles: tuple[Profile, ...]
    options: BuildOptions
    threads: int | None
    progress: Progress


class TargetModule(Protocol):
    """A target's file. Its library is imported inside functions, so that a light install can list it."""

    def availability(self) -> Availability:
        """Whether the target works here."""
        ...

    def require_precision(self, dtype: DType) -> None:
        """Raise TargetUnavailable where this machine cannot compute in one of the target's precisions."""
        ...

    def require_supported(self, options: BuildOptions, dtypes: Sequence[DType]) -> None:
        """Raise InputError for an option that the target's library lacks, or that a precision does not go with.

        Asked of targets with engine files only.
        """
        ...

    def make_engine(self, request: EngineRequest) -> Engine:
        """Make an engine, and say what the manifest says of it. Never asked of a target that runs graphs as they are.

        Raises:
            PoolfoldError: the graph cannot be compiled, or the target is not available here.
        """
        ...


def every_precision(_dtype: DType) -> None:
    """For a target that computes in each of its precisions on every machine."""


def no_options(_options: BuildOptions, _dtypes: Sequence[DType]) -> None:
    """For a target without engine files."""
