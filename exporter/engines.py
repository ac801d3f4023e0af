"""Engines of every strategy, and what the manifest says of each. What cannot run here stays `built`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.artifact import engine_path
from exporter.console import Console
from exporter.spec import DType
from graphs.strategy import parse_strategy
from poolfold.manifest import Engine, Graph, Profile

TENSORRT_RTX = "tensorrt-rtx"


def build_engines(
    directory: Path, graphs: Sequence[Graph], dtypes: Sequence[DType], profile: Profile, console: Console
) -> tuple[Engine, ...]:
    """Build a TensorRT-RTX engine from each graph of the given dtypes.

    Raises:
        TargetUnavailable: the library is not installed.
        PoolfoldError: the library refuses a graph; its reason is in the message.
    """
    wanted = [graph for graph in graphs if graph.dtype in dtypes]
    if not wanted:
        return ()
    from exporter.targets.tensorrt_rtx import build_engine

    engines = []
    with console.stage("engines") as stage:
        for done, graph in enumerate(wanted):
            stage.progress(done, len(wanted), f"{TENSORRT_RTX} {graph.strategy} {graph.dtype}")
            path = engine_path(TENSORRT_RTX, parse_strategy(graph.strategy), DType(graph.dtype))
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            build = build_engine(directory / graph.path, directory / path, [profile])
            engines.append(
                Engine(
                    path=path,
                    target=TENSORRT_RTX,
                    strategy=graph.strategy,
                    dtype=graph.dtype,
                    status="built",
                    graph=graph.path,
                    library=build.library,
                    library_version=build.library_version,
                    compute_capabilities=build.compute_capabilities,
                    profiles=(profile,),
                    attention_layers=build.attention_layers,
                    attention_fused=build.attention_fused,
                    build_seconds=round(build.build_seconds, 3),
                )
            )
            for warning in build.warnings:
                stage.warn(f"{TENSORRT_RTX} {graph.strategy}: {warning}")
        stage.outcome = "; ".join(
            f"{e.target} {e.strategy} {e.dtype}: {e.attention_fused} of {e.attention_layers} attention layers fused, "
            "built, not run here"
            for e in engines
        )
    return tuple(engines)
