"""Engines of every strategy, and what the manifest says of each: built into files beside other work, or in memory.

What cannot run here stays `built`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from exporter.artifact import engine_path
from exporter.spec import DType, Form
from exporter.targets import openvino, tensorrt_rtx
from exporter.targets.rtx_library import Report
from graphs.strategy import parse_strategy
from poolfold.errors import TargetUnavailable
from poolfold.manifest import Engine, Graph, Profile
from poolfold.sessions.openvino import require_precision


class _Cancelled(Exception):
    """Raised in a build whose result nobody waits for any more."""


def require_available(shares: Mapping[str, Sequence[DType]]) -> None:
    """Raise TargetUnavailable now, rather than after minutes of work, for what this machine lacks.

    Args:
        shares: what each target is to run or build.
    """
    if tensorrt_rtx.NAME in shares:
        found = tensorrt_rtx.availability()
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
    directory: Path, graphs: Sequence[Graph], dtypes: Sequence[DType], profile: Profile
) -> Iterator[Future[tuple[Engine, ...]]]:
    """Build a TensorRT-RTX engine from each graph of the given dtypes, while the block does other work.

    The library compiles without the interpreter's lock. A block that fails ends the build.

    Yields:
        The engines to come; `result()` raises what `build_engine` raised.
    """
    cancelled = threading.Event()

    def check(_phase: str, _done: float) -> None:
        if cancelled.is_set():
            raise _Cancelled

    def build() -> tuple[Engine, ...]:
        return tuple(
            _build(directory, graph, form, path, profile, check)
            for graph in graphs
            if graph.dtype in dtypes
            for form, path in ((Form.PLAIN, graph.path), (Form.PACKED, graph.packed))
            if path is not None
        )

    with ThreadPoolExecutor(1, "engines") as pool:
        try:
            yield pool.submit(build)
        except BaseException:
            cancelled.set()
            raise


def _build(directory: Path, graph: Graph, form: Form, source: str, profile: Profile, progress: Report) -> Engine:
    """The engine of one form of a graph, whose file is `source`."""
    progress("waiting", 0.0)
    path = engine_path(tensorrt_rtx.NAME, parse_strategy(graph.strategy), DType(graph.dtype), form)
    build = tensorrt_rtx.build_engine(directory / source, directory / path, [profile], progress)
    return Engine(
        path=path,
        target=tensorrt_rtx.NAME,
        strategy=graph.strategy,
        dtype=graph.dtype,
        status="built",
        graph=source,
        form=form,
        library=build.library,
        library_version=build.library_version,
        compute_capabilities=build.compute_capabilities,
        version_compatible=False,
        hardware_compatibility="none",
        stripped=False,
        profiles=(profile,),
        contents=None,
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
