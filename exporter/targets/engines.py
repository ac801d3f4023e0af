"""Engines of every strategy, and what the manifest says of each: built into files beside other work, or in memory.

What cannot run here stays `built`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exporter.artifact.layout import engine_path
from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType, Form
from exporter.targets import openvino
from exporter.targets.build_progress import Report
from exporter.targets.engine_builder import build_engine
from exporter.targets.engine_targets import availability
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import TargetUnavailable
from poolfold.manifest import Engine, Graph, Profile
from poolfold.sessions.openvino import require_precision
from poolfold.sessions.tensorrt.library import MODULES


@dataclass(frozen=True)
class EngineOrder:
    """Engines to build for a target.

    dtypes: of the graphs to build from.
    profiles: the shapes that each engine accepts.
    """

    target: str
    dtypes: Sequence[DType]
    profiles: Sequence[Profile]
    options: BuildOptions = field(default_factory=BuildOptions)


class _Cancelled(Exception):
    """Raised in a build whose result nobody waits for any more."""


def require_available(shares: Mapping[str, Sequence[DType]]) -> None:
    """Raise TargetUnavailable now, rather than after minutes of work, for what this machine lacks.

    Args:
        shares: what each target is to run or build.
    """
    for target in MODULES:
        if target in shares:
            found = availability(target)
            if not found.available:
                raise TargetUnavailable(found.reason or f"{found.name} is not available here.")
    for dtype in shares.get(openvino.NAME, ()):
        require_precision(dtype)


def compile_in_memory(
    directory: Path, graphs: Sequence[Graph], dtypes: Sequence[DType], threads: int | None
) -> tuple[Engine, ...]:
    """Compile graphs with OpenVINO in each of the given precisions: engines without a file but the graph's own.

    Raises:
        PoolfoldError: as `openvino.compile_and_inspect`.
    """
    return tuple(
        _compile(directory, graph, dtype, threads)
        for dtype in dtypes
        for graph in graphs
        if graph.dtype == dtype.of_graph
    )


def _compile(directory: Path, graph: Graph, dtype: DType, threads: int | None) -> Engine:
    done = openvino.compile_and_inspect(directory / graph.path, dtype, threads)
    unfused = graph.attention_layers - done.attention_fused
    return Engine(
        path=graph.path,
        target=openvino.NAME,
        strategy=graph.strategy,
        dtype=dtype,
        status="built",
        graph=graph.path,
        form=Form.PLAIN,
        library=openvino.NAME,
        library_version=done.library_version,
        compute_capabilities=(),
        version_compatible=False,
        hardware_compatibility="none",
        stripped=False,
        profiles=(),
        contents=None,
        attention_layers=graph.attention_layers,
        attention_fused=done.attention_fused,
        build_seconds=round(done.seconds, 3),
        warnings=(
            *done.warnings,
            *((f"attention is not fused in {unfused} of {graph.attention_layers} layers",) if unfused else ()),
        ),
    )


@contextmanager
def engines_in_background(
    directory: Path, graphs: Sequence[Graph], orders: Sequence[EngineOrder]
) -> Iterator[Future[tuple[Engine, ...]]]:
    """Build every order from each graph of its dtypes, while the block does other work.

    The libraries compile without the interpreter's lock. A block that fails ends the build.

    Yields:
        The engines to come; `result()` raises what `build_engine` raised.
    """
    cancelled = threading.Event()

    def check(_phase: str, _done: float) -> None:
        if cancelled.is_set():
            raise _Cancelled

    with ThreadPoolExecutor(1, "engines") as pool:
        try:
            yield pool.submit(build_orders, directory, graphs, orders, check)
        except BaseException:
            cancelled.set()
            raise


def build_orders(
    directory: Path, graphs: Sequence[Graph], orders: Sequence[EngineOrder], progress: Report
) -> tuple[Engine, ...]:
    """Build every order from each form of each graph of its dtypes that an engine can be built from.

    Args:
        directory: the artifact; engines are written into it.
        progress: called from another thread with what is being built and the fraction done of all.

    Raises:
        PoolfoldError: as `build_engine`.
    """
    wanted = [
        (order, graph, form, path)
        for order in orders
        for graph in graphs
        if graph.dtype in order.dtypes
        for form, path in ((Form.PLAIN, graph.path), (Form.PACKED, graph.packed))
        if path is not None
    ]
    engines = []
    for number, (order, graph, form, path) in enumerate(wanted):
        what = f"{order.target} {graph.strategy} {graph.dtype} {form}"

        def tell(_phase: str, done: float, number: int = number, what: str = what) -> None:
            progress(what, (number + done) / len(wanted))

        engines.append(_build(directory, graph, form, path, order, tell))
    return tuple(engines)


def _build(directory: Path, graph: Graph, form: Form, source: str, order: EngineOrder, progress: Report) -> Engine:
    """The engine of one form of a graph, whose file is `source`."""
    progress("waiting", 0.0)
    path = engine_path(order.target, parse_strategy(graph.strategy), DType(graph.dtype), form)
    options = order.options
    build = build_engine(
        order.target, directory / source, directory / path, order.profiles, options=options, progress=progress
    )
    return Engine(
        path=path,
        target=order.target,
        strategy=graph.strategy,
        dtype=graph.dtype,
        status="built",
        graph=source,
        form=form,
        library=build.library,
        library_version=build.library_version,
        compute_capabilities=build.compute_capabilities,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        stripped=options.strip_weights,
        profiles=tuple(order.profiles),
        contents=build.contents,
        attention_layers=build.attention_layers,
        attention_fused=build.attention_fused,
        build_seconds=round(build.build_seconds, 3),
        warnings=build.warnings,
    )


def outcome(engines: Sequence[Engine]) -> str:
    """What was built, in a line."""
    return "; ".join(
        f"{e.target} {e.strategy} {e.dtype} {e.form}: {e.attention_fused} of {e.attention_layers} attentions fused"
        for e in engines
    )
