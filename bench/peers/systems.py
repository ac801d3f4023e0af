"""What is timed on a processor: our artifact on each target, the peers, and the bare matrix product.

A further target of ours is one line of OURS. What cannot run on this machine is named with its reason, never left out
in silence.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import poolfold
from bench.exports import LEVELS
from bench.systems import COMPILED, EAGER, Entry, our_label
from bench.turns import STRATEGIES
from bench.work import Size
from exporter.host.child_process import OwnProcess
from exporter.measure.systems import artifact_system
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import PoolfoldError

PYTORCH, ONNXRUNTIME, OPENVINO = "pytorch", "onnxruntime", "openvino"
OURS = ((ONNXRUNTIME, "fp32"), (OPENVINO, "fp32"), (OPENVINO, "bf16"))
"""Our artifact's targets and precisions."""

DTYPES = ("fp32", "bf16")
_PRECISION = {"fp32": "f32", "bf16": "bf16"}


def ours(artifact: Path, threads: int, strategies: Sequence[str] = STRATEGIES) -> list[Entry]:
    """Our artifact, each strategy in a process of its own as it is a graph of its own."""
    entries = []
    for target, dtype in OURS:
        systems = [artifact_system(artifact, parse_strategy(strategy), dtype, target) for strategy in strategies]
        missing = _why_ours_is_missing({**systems[0].arguments, "threads": threads})
        entries += [
            Entry(
                label=our_label(target, dtype),
                side="ours",
                runtime=target,
                dtype=dtype,
                load=system.load,
                arguments=system.arguments,
                strategies=(system.strategy,),
                baseline=EAGER,
                missing=missing,
                weighed=dtype == "fp32",
            )
            for system in systems
        ]
    return entries


def peers(checkpoint: Path, graphs: Mapping[str, Path], shapes: Sequence[Sequence[int]], left_out: str) -> list[Entry]:
    """The peers, one process each: the forward is the same for every strategy, the pooling stands behind it.

    Args:
        checkpoint: a sentence-transformers folder whose transformer lies at its top.
        graphs: optimum's graphs by label; those not there are missing because of `left_out`.
        shapes: what torch.compile is warmed up on, besides the warm-up that all have.
        left_out: a reason.
    """
    folder, plain = str(checkpoint), next(iter(LEVELS))

    def entry(label: str, runtime: str, dtype: str, module: str, missing: str, **arguments: Any) -> Entry:
        weighed = dtype == "fp32" and label.startswith(f"{plain} {runtime}")
        load = f"bench.{module}:load"
        return Entry(label, "peer", runtime, dtype, load, arguments, STRATEGIES, EAGER, missing, weighed)

    found = [
        entry(EAGER, PYTORCH, "fp32", "load_pytorch", "", folder=folder, compile_for=[]),
        entry(COMPILED, PYTORCH, "fp32", "load_pytorch", _no_compiler(), folder=folder, compile_for=shapes),
        entry("sentence-transformers", PYTORCH, "fp32", "load_sentence_transformers", "", folder=folder),
    ]
    for label in LEVELS:
        missing, path = ("", str(graphs[label])) if label in graphs else (left_out, "")
        found.append(entry(f"{label} {ONNXRUNTIME} fp32", ONNXRUNTIME, "fp32", "load_onnxruntime", missing, path=path))
    missing, path = (_no_openvino(), str(graphs[plain])) if plain in graphs else (left_out, "")
    for dtype, precision in _PRECISION.items():
        label = f"{plain} {OPENVINO} {dtype}"
        found.append(entry(label, OPENVINO, dtype, "load_openvino", missing, path=path, precision=precision))
    return found


def products(graph: Path, size: Size) -> list[Entry]:
    """The bare matrix product in each runtime."""

    def entry(runtime: str, dtype: str, load: str, missing: str, **arguments: Any) -> Entry:
        label, arguments = f"matrix product {runtime} {dtype}", {"hidden": size.hidden, **arguments}
        return Entry(label, "product", runtime, dtype, f"bench.{load}", arguments, ("",), missing=missing)

    path = str(graph)
    return [
        entry(PYTORCH, "fp32", "load_product:load_pytorch", "", intermediate=size.intermediate),
        entry(ONNXRUNTIME, "fp32", "load_onnxruntime:load_product", "", path=path),
        *(
            entry(OPENVINO, dtype, "load_openvino:load_product", _no_openvino(), path=path, precision=precision)
            for dtype, precision in _PRECISION.items()
        ),
    ]


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
