"""What is timed, as data: our artifact on each target, the peers, and the bare matrix product.

A further target of ours is one line of OURS. What cannot run on this machine is named with its reason, never left out
in silence.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import poolfold
from bench.peers.exports import LEVELS, STRATEGIES
from bench.peers.work import Size
from exporter.host.child_process import OwnProcess
from exporter.measure.systems import System, artifact_system
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import PoolfoldError

PYTORCH, ONNXRUNTIME, OPENVINO = "pytorch", "onnxruntime", "openvino"
OURS = ((ONNXRUNTIME, "fp32"), (OPENVINO, "fp32"), (OPENVINO, "bf16"))
"""Our artifact's targets and precisions."""

DTYPES = ("fp32", "bf16")
BASELINE, COMPILED = "PyTorch eager", "torch.compile"
_PRECISION = {"fp32": "f32", "bf16": "bf16"}
Side = Literal["ours", "peer", "product"]


@dataclass(frozen=True)
class Entry:
    """A process to be: what it loads, and the strategies it gives vectors for.

    missing: why it cannot run here; empty where it can.
    weighed: whether the memory of a large batch is measured too.
    """

    label: str
    side: Side
    runtime: str
    dtype: str
    load: str
    arguments: Mapping[str, Any]
    strategies: tuple[str, ...]
    missing: str = ""
    weighed: bool = False

    def systems(self) -> tuple[System, ...]:
        """One for each strategy, in one process; compared with eager PyTorch of that strategy."""
        return tuple(
            System(
                name=name(self.label, strategy),
                strategy=strategy,
                dtype=self.dtype,
                runtime=self.runtime,
                load=self.load,
                arguments=self.arguments,
                baseline=name(BASELINE if self.side != "product" else self.label, strategy),
                process=self.label if len(self.strategies) > 1 else "",
            )
            for strategy in self.strategies
        )


def name(label: str, strategy: str) -> str:
    """A system's name."""
    return f"{label}, {strategy}" if strategy else label


def our_label(target: str, dtype: str) -> str:
    """How our artifact on a target is called."""
    return f"poolfold {target} {dtype}"


def ours(artifact: Path, threads: int) -> list[Entry]:
    """Our artifact, each strategy in a process of its own as it is a graph of its own."""
    found = []
    for target, dtype in OURS:
        systems = [artifact_system(artifact, parse_strategy(strategy), dtype, target) for strategy in STRATEGIES]
        missing = _why_ours_is_missing({**systems[0].arguments, "threads": threads})
        found += [
            Entry(
                label=our_label(target, dtype),
                side="ours",
                runtime=target,
                dtype=dtype,
                load=system.load,
                arguments=system.arguments,
                strategies=(system.strategy,),
                missing=missing,
                weighed=dtype == "fp32",
            )
            for system in systems
        ]
    return found


def peers(checkpoint: Path, graphs: Mapping[str, Path], shapes: Sequence[Sequence[int]], left_out: str) -> list[Entry]:
    """The peers, one process each: the forward is the same for every strategy, the pooling stands behind it.

    Args:
        checkpoint: a sentence-transformers folder whose transformer lies at its top.
        graphs: optimum's graphs by label; those not there are missing because of `left_out`.
        shapes: what torch.compile is warmed up on, besides the warm-up that all have.
        left_out: a reason.
    """
    folder = str(checkpoint)
    pytorch, transformers = "bench.peers.load_pytorch:load", "bench.peers.load_sentence_transformers:load"
    onnxruntime, openvino = "bench.peers.load_onnxruntime:load", "bench.peers.load_openvino:load"

    plain = next(iter(LEVELS))

    def entry(label: str, runtime: str, dtype: str, load: str, missing: str, **arguments: Any) -> Entry:
        weighed = dtype == "fp32" and label.startswith(f"{plain} {runtime}")
        return Entry(label, "peer", runtime, dtype, load, arguments, STRATEGIES, missing, weighed)

    found = [
        entry(BASELINE, PYTORCH, "fp32", pytorch, "", folder=folder, compile_for=[]),
        entry(COMPILED, PYTORCH, "fp32", pytorch, _no_compiler(), folder=folder, compile_for=shapes),
        entry("sentence-transformers", PYTORCH, "fp32", transformers, "", folder=folder),
    ]
    for label in LEVELS:
        missing, path = ("", str(graphs[label])) if label in graphs else (left_out, "")
        found.append(entry(f"{label} {ONNXRUNTIME} fp32", ONNXRUNTIME, "fp32", onnxruntime, missing, path=path))
    missing, path = (_no_openvino(), str(graphs[plain])) if plain in graphs else (left_out, "")
    for dtype, precision in _PRECISION.items():
        label = f"{plain} {OPENVINO} {dtype}"
        found.append(entry(label, OPENVINO, dtype, openvino, missing, path=path, precision=precision))
    return found


def products(graph: Path, size: Size) -> list[Entry]:
    """The bare matrix product in each runtime."""

    def entry(runtime: str, dtype: str, load: str, missing: str, **arguments: Any) -> Entry:
        label = f"matrix product {runtime} {dtype}"
        return Entry(label, "product", runtime, dtype, load, {"hidden": size.hidden, **arguments}, ("",), missing)

    pytorch, onnxruntime = "bench.peers.load_product:load_pytorch", "bench.peers.load_onnxruntime:load_product"
    openvino, path = "bench.peers.load_openvino:load_product", str(graph)
    return [
        entry(PYTORCH, "fp32", pytorch, "", intermediate=size.intermediate),
        entry(ONNXRUNTIME, "fp32", onnxruntime, "", path=path),
        *(
            entry(OPENVINO, dtype, openvino, _no_openvino(), path=path, precision=precision)
            for dtype, precision in _PRECISION.items()
        ),
    ]


def missing(entries: Iterable[Entry]) -> dict[str, str]:
    """What cannot run here, label -> reason."""
    return {entry.label: entry.missing for entry in entries if entry.missing}


def try_ours(arguments: Mapping[str, Any]) -> None:
    """Load our artifact and close it; raises what `poolfold.load` raises."""
    poolfold.load(**arguments).close()


def _why_ours_is_missing(arguments: Mapping[str, Any]) -> str:
    with OwnProcess("bench.peers.systems:try_ours", dict(arguments)) as process:
        try:
            process.result()
        except PoolfoldError as error:
            return f"poolfold.load says: {error}"
    return ""


def _no_openvino() -> str:
    return "" if importlib.util.find_spec("openvino") else "openvino is not installed here; pip install openvino"


def _no_compiler() -> str:
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else f"torch.compile needs a C++ compiler, and {compiler} is not here"
