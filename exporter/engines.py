"""Engines of every strategy, built beside other work, and what the manifest says of each.

What cannot run here stays `built`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from exporter.artifact import engine_path
from exporter.spec import DType, Form
from exporter.targets import tensorrt_rtx
from exporter.targets.rtx_library import Report
from graphs.strategy import parse_strategy
from poolfold.errors import TargetUnavailable
from poolfold.manifest import Engine, Graph, Profile


class _Cancelled(Exception):
    """Raised in a build whose result nobody waits for any more."""


def require_available(targets: Sequence[str]) -> None:
    """Raise TargetUnavailable now, rather than after minutes of work, for a target whose library is not here."""
    for target in targets:
        found = tensorrt_rtx.availability() if target == tensorrt_rtx.NAME else None
        if found is not None and not found.available:
            raise TargetUnavailable(found.reason or f"{target} is not available here.")


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
        profiles=(profile,),
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
