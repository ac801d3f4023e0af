"""What is timed on a GPU, as data, in the order in which it is tried: what matters most first, should time run short.

A further target or provider of ours is one line of `Setting.ours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.systems import COMPILED, EAGER, Entry, our_label
from exporter.measure.systems import artifact_system
from graphs.pooling.strategy import parse_strategy

RTX = "tensorrt-rtx"


@dataclass(frozen=True)
class Setting:
    """A device and what runs on it: ours are (target, provider, dtype); an empty provider is the target's own."""

    device: str
    dtype: str
    ours: tuple[tuple[str, str, str], ...]

    @property
    def eager(self) -> str:
        """How eager PyTorch is called, which all are compared with."""
        return f"{EAGER} {self.dtype}"


CUDA = Setting(
    "cuda",
    "fp16",
    (
        (RTX, "", "fp16"),
        ("tensorrt", "", "fp16"),
        ("onnxruntime", "cuda", "fp16"),
        ("onnxruntime", "tensorrt", "fp16"),
        ("onnxruntime", RTX, "fp16"),
    ),
)
CPU = Setting("cpu", "fp32", ((RTX, "", "fp16"), ("onnxruntime", "", "fp32")))
"""Tries the bench's own logic on a machine without a GPU; its numbers say nothing of one."""


def entries(setting: Setting, checkpoint: Path, artifact: Path, strategies: Sequence[str]) -> list[Entry]:
    """All of them, each strategy in a process of its own."""

    def peers(label: str, *, compiled: bool) -> list[Entry]:
        arguments = {
            "folder": str(checkpoint), "dtype": setting.dtype, "device": setting.device, "compiled": compiled,
        }  # fmt: skip
        load = "bench.load_pytorch:load_on"
        return [
            Entry(label, "peer", "pytorch", setting.dtype, load, {**arguments, "strategy": s}, (s,), setting.eager)
            for s in strategies
        ]

    def ours(target: str, provider: str, dtype: str) -> list[Entry]:
        label = our_label(target, dtype, provider)
        systems = [
            artifact_system(artifact, parse_strategy(s), dtype, target, provider=provider or "cpu") for s in strategies
        ]
        return [
            Entry(label, "ours", target, dtype, system.load, system.arguments, (system.strategy,), setting.eager)
            for system in systems
        ]

    first, *others = [ours(*one) for one in setting.ours]
    eager, compiled = peers(setting.eager, compiled=False), peers(f"{COMPILED} {setting.dtype}", compiled=True)
    return [*first, *eager, *others[0], *compiled, *(entry for more in others[1:] for entry in more)]
