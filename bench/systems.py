"""What may be timed, as data: `on_processor`, `on_gpu`. A further target of ours is one line of OURS or of a Setting.

What cannot run on this machine is named with its reason, never left out in silence.
"""

import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import poolfold
from bench.exports import LEVELS
from bench.work import Size
from exporter.host.child_process import OwnProcess
from exporter.measure.systems import System, artifact_system
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import PoolfoldError

STRATEGIES = ("cls", "mean")
PYTORCH, ONNXRUNTIME, OPENVINO, RTX = "pytorch", "onnxruntime", "openvino", "tensorrt-rtx"
EAGER, COMPILED = "PyTorch eager", "torch.compile"
OURS = ((ONNXRUNTIME, "fp32"), (OPENVINO, "fp32"), (OPENVINO, "bf16"))
"""Our artifact's targets and precisions on a processor."""

DTYPES = ("fp32", "bf16")
_PRECISION = {"fp32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class Entry:
    """A process to be: what it loads, and the strategies it gives vectors for.

    side: `ours`, `peer`, or `product`, the bare matrix product, which has no strategy.
    baseline: the label of what it is compared with; empty for itself.
    missing: why it cannot run here; empty where it can.
    weighed: whether the memory of a large batch is measured too.
    """

    label: str
    side: str
    runtime: str
    dtype: str
    load: str
    arguments: Mapping[str, Any]
    strategies: tuple[str, ...]
    baseline: str = ""
    missing: str = ""
    weighed: bool = False

    def systems(self) -> tuple[System, ...]:
        """One for each strategy, in one process."""
        process = self.label if len(self.strategies) > 1 else ""
        return tuple(
            System(
                *(name(self.label, strategy), strategy, self.dtype, self.runtime, self.load, self.arguments),
                baseline=name(self.baseline or self.label, strategy),
                process=process,
            )
            for strategy in self.strategies
        )


@dataclass(frozen=True)
class Setting:
    """A device and what runs on it: ours are (target, provider, dtype), an empty provider being the target's own."""

    device: str
    dtype: str
    ours: tuple[tuple[str, str, str], ...]

    @property
    def eager(self) -> str:
        """How eager PyTorch is called, which all are compared with."""
        return f"{EAGER} {self.dtype}"


_ON_CARD = ((RTX, ""), ("tensorrt", ""), (ONNXRUNTIME, "cuda"), (ONNXRUNTIME, "tensorrt"), (ONNXRUNTIME, RTX))
CUDA = Setting("cuda", "fp16", tuple((target, provider, "fp16") for target, provider in _ON_CARD))
CPU = Setting("cpu", "fp32", ((RTX, "", "fp16"), (ONNXRUNTIME, "", "fp32")))
"""Tries the bench's own logic on a machine without a GPU; its numbers say nothing of one."""


def name(label: str, strategy: str) -> str:
    """A system's name."""
    return f"{label}, {strategy}" if strategy else label


def our_label(target: str, dtype: str, provider: str = "") -> str:
    """How our artifact on a target, or on one of ONNX Runtime's providers, is called."""
    return " ".join(part for part in ("poolfold", target, provider, dtype) if part)


def ours(
    artifact: Path, target: str, dtype: str, provider: str, strategies: Sequence[str], baseline: str
) -> list[Entry]:
    """Our artifact, each strategy in a process of its own as it is a graph of its own."""
    systems = [artifact_system(artifact, parse_strategy(s), dtype, target, provider=provider) for s in strategies]
    label = our_label(target, dtype, "" if provider == "cpu" else provider)
    return [
        Entry(label, "ours", target, dtype, s.load, s.arguments, (s.strategy,), baseline, weighed=dtype == "fp32")
        for s in systems
    ]


def ours_on_processor(artifact: Path, threads: int, strategies: Sequence[str] = STRATEGIES) -> list[Entry]:
    """Our artifact on every target, or why it cannot be loaded."""
    entries = [entry for target, dtype in OURS for entry in ours(artifact, target, dtype, "cpu", strategies, EAGER)]
    why = {
        e.label: _why_missing({**e.arguments, "threads": threads}) for e in entries if e.strategies == (strategies[0],)
    }
    return [replace(entry, missing=why[entry.label]) for entry in entries]


def peers_on_processor(
    checkpoint: Path, graphs: Mapping[str, Path], shapes: Sequence[Sequence[int]], left_out: str
) -> list[Entry]:
    """The peers, one process each: the forward is the same for every strategy, the pooling stands behind it.

    `graphs` are optimum's by label; those not there are missing because of `left_out`. torch.compile is warmed up on
    `shapes`, besides the warm-up that all have.
    """
    folder, plain = str(checkpoint), next(iter(LEVELS))

    def entry(label: str, runtime: str, dtype: str, module: str, missing: str = "", **arguments: Any) -> Entry:
        weighed, load = label == f"{plain} {runtime} fp32", f"bench.{module}:load"
        return Entry(label, "peer", runtime, dtype, load, arguments, STRATEGIES, EAGER, missing, weighed)

    no_openvino = _no_openvino() if plain in graphs else left_out
    paths = {label: str(graphs.get(label, "")) for label in LEVELS}
    optimum = [
        entry(
            f"{label} {ONNXRUNTIME} fp32", ONNXRUNTIME, "fp32", "load_onnxruntime", "" if path else left_out, path=path
        )
        for label, path in paths.items()
    ] + [
        entry(f"{plain} {OPENVINO} {d}", OPENVINO, d, "load_openvino", no_openvino, path=paths[plain], precision=p)
        for d, p in _PRECISION.items()
    ]
    return [
        entry(EAGER, PYTORCH, "fp32", "load_pytorch", folder=folder, compile_for=[]),
        entry(COMPILED, PYTORCH, "fp32", "load_pytorch", _no_compiler(), folder=folder, compile_for=shapes),
        entry("sentence-transformers", PYTORCH, "fp32", "load_sentence_transformers", folder=folder),
        *optimum,
    ]


def products(graph: Path, size: Size) -> list[Entry]:
    """The bare matrix product in each runtime."""

    def entry(runtime: str, dtype: str, load: str, missing: str = "", **arguments: Any) -> Entry:
        label, arguments = f"matrix product {runtime} {dtype}", {"hidden": size.hidden, **arguments}
        return Entry(label, "product", runtime, dtype, f"bench.{load}", arguments, ("",), missing=missing)

    path, openvino = str(graph), "load_openvino:load_product"
    return [
        entry(PYTORCH, "fp32", "beside_graphs:load_pytorch", intermediate=size.intermediate),
        entry(ONNXRUNTIME, "fp32", "load_onnxruntime:load_product", path=path),
        *(
            entry(OPENVINO, dtype, openvino, _no_openvino(), path=path, precision=precision)
            for dtype, precision in _PRECISION.items()
        ),
    ]


def on_gpu(setting: Setting, checkpoint: Path, artifact: Path, strategies: Sequence[str]) -> list[Entry]:
    """All of a GPU's, in the order in which they are tried: what matters most first, should time run short."""

    def peers(label: str, *, compiled: bool) -> list[Entry]:
        given = {"folder": str(checkpoint), "dtype": setting.dtype, "device": setting.device, "compiled": compiled}
        loads = [("bench.load_pytorch:load_on", {**given, "strategy": s}, (s,)) for s in strategies]
        return [Entry(label, "peer", PYTORCH, setting.dtype, *load, baseline=setting.eager) for load in loads]

    first, second, *others = [
        ours(artifact, target, dtype, provider or "cpu", strategies, setting.eager)
        for target, provider, dtype in setting.ours
    ]
    eager, compiled = peers(setting.eager, compiled=False), peers(f"{COMPILED} {setting.dtype}", compiled=True)
    return [*first, *eager, *second, *compiled, *(entry for more in others for entry in more)]


def try_ours(arguments: Mapping[str, Any]) -> None:
    """Load our artifact and close it; raises what `poolfold.load` raises."""
    poolfold.load(**arguments).close()


def _why_missing(arguments: Mapping[str, Any]) -> str:
    with OwnProcess("bench.systems:try_ours", dict(arguments)) as process:
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
