"""The engines of an artifact: each target's own, of every graph, made one by one or beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType, Form
from exporter.targets import target_module
from exporter.targets.interface import EngineRequest
from poolfold.errors import InputError, TargetUnavailable
from poolfold.manifest import Engine, Graph, Profile
from poolfold.sessions import targets
from poolfold.sessions.targets import Runs, find_target

Progress = Callable[[str, float], None]
"""Called with what is being made and the fraction done of all."""


@dataclass(frozen=True)
class EngineOrder:
    """Engines to make for a target.

    dtypes: precisions to compute in; engine files take the graphs of these precisions.
    profiles: the shapes that each engine accepts; none for what is compiled in memory.
    """

    target: str
    dtypes: tuple[DType, ...]
    profiles: tuple[Profile, ...] = ()
    options: BuildOptions = field(default_factory=BuildOptions)
    threads: int | None = None

    @property
    def makes_engines(self) -> bool:
        """Whether there is anything to make: a target may run graphs as they are."""
        return find_target(self.target).runs is not Runs.GRAPH

    @property
    def is_files(self) -> bool:
        """Whether its engines are files."""
        return find_target(self.target).has_engine_files


class _Cancelled(Exception):
    """Raised in a build whose result nobody waits for any more."""


def require_available(shares: Mapping[str, Sequence[DType]]) -> None:
    """Raise TargetUnavailable now, rather than after minutes of work, for what this machine lacks.

    Args:
        shares: what each target is to run or build.
    """
    for name, dtypes in shares.items():
        module = target_module(name)
        here = module.availability()
        if not here.available:
            raise TargetUnavailable(here.reason or f"{name} is not available here.")
        for dtype in dtypes:
            module.require_precision(dtype)


def require_supported(options: BuildOptions, shares: Mapping[str, Sequence[DType]]) -> None:
    """Refuse build options that a target's engines cannot have, or any where no engine file is built.

    Args:
        options: how to build.
        shares: what each target is to run or build.

    Raises:
        InputError: names the option, the reason and what to do.
    """
    builders = [target.name for target in targets.TARGETS if target.has_engine_files]
    asked = [name for name in shares if name in builders]
    if not asked and options != BuildOptions():
        raise InputError(f"options of a build need --target {' or '.join(builders)}. Add one, or leave them out.")
    for name in asked:
        target_module(name).require_supported(options, shares[name])


def make_engines(
    directory: Path, graphs: Sequence[Graph], orders: Sequence[EngineOrder], progress: Progress
) -> tuple[Engine, ...]:
    """Make every order, of each form of each graph that an engine can be made of.

    Args:
        directory: the artifact; engine files are written into it.
        progress: called from another thread, perhaps.

    Raises:
        PoolfoldError: as the target's `make_engine`.
    """
    wanted = [
        (order, dtype, graph, form, path)
        for order in orders
        for dtype in order.dtypes
        for graph in graphs
        if graph.dtype == dtype.of_graph and graph.runs_on(order.target)
        for form, path in _forms(graph, order)
    ]
    engines = []
    for number, (order, dtype, graph, form, path) in enumerate(wanted):
        what = f"{order.target} {graph.strategy} {dtype} {form}"

        def report(_phase: str, done: float, number: int = number, what: str = what) -> None:
            progress(what, (number + done) / len(wanted))

        request = EngineRequest(
            directory, graph, form, path, dtype, order.profiles, order.options, order.threads, report
        )
        engines.append(target_module(order.target).make_engine(request))
    return tuple(engines)


def _forms(graph: Graph, order: EngineOrder) -> list[tuple[Form, str]]:
    """The forms of a graph that engines are made of, with their files."""
    if order.is_files:
        return [(Form.PLAIN, graph.path), *([(Form.PACKED, graph.packed)] if graph.packed else [])]
    if graph.prompted is not None:
        return [(Form.PROMPTED, graph.prompted.path)]
    free = graph.padding_free
    if free is not None and order.target in free.serves_all:
        return [(Form.PADDING_FREE, free.path)]
    return [(Form.PLAIN, graph.path)]


@contextmanager
def engines_in_background(
    directory: Path, graphs: Sequence[Graph], orders: Sequence[EngineOrder]
) -> Iterator[Future[tuple[Engine, ...]]]:
    """Make every order while the block does other work.

    The libraries compile without the interpreter's lock. A block that fails ends the build.

    Yields:
        The engines to come; `result()` raises what `make_engines` raised.
    """
    cancelled = threading.Event()

    def check(_what: str, _done: float) -> None:
        if cancelled.is_set():
            raise _Cancelled

    with ThreadPoolExecutor(1, "engines") as pool:
        try:
            yield pool.submit(make_engines, directory, graphs, orders, check)
        except BaseException:
            cancelled.set()
            raise


def outcome(engines: Sequence[Engine]) -> str:
    """What was made, in a line."""
    if not engines:
        return "none"
    fused = ", ".join(dict.fromkeys(f"{e.attention_fused} of {e.attention_layers}" for e in engines))
    names = ", ".join(f"{e.target} {e.strategy} {e.dtype}{'' if e.form == 'plain' else f' {e.form}'}" for e in engines)
    return f"{names}; attention fused in {fused} layers"
