"""What is timed, as data, in the order in which it is tried: what matters most comes first, should time run short.

A further target or provider of ours is one line of `Setting.ours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.systems import name
from exporter.measure.systems import System

EAGER, COMPILED = "PyTorch eager", "torch.compile"
RTX = "tensorrt-rtx"
_TORCH, _POOLFOLD = "bench.gpu.load_torch:load", "bench.gpu.load_poolfold:load"


@dataclass(frozen=True)
class Setting:
    """A device and what runs on it: ours are (target, provider, dtype); an empty provider is the target's own."""

    device: str
    dtype: str
    ours: tuple[tuple[str, str, str], ...]


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


@dataclass(frozen=True)
class Candidate:
    """What might run here: `label` is its name without the strategy."""

    label: str
    ours: bool
    system: System


def candidates(setting: Setting, checkpoint: Path, artifact: Path, strategies: Sequence[str]) -> list[Candidate]:
    """All of them, each strategy in a process of its own, compared with eager PyTorch of that strategy."""

    def peer(label: str, *, compiled: bool) -> list[Candidate]:
        arguments: dict[str, object] = {
            "folder": str(checkpoint),
            "dtype": setting.dtype,
            "device": setting.device,
            "compiled": compiled,
        }
        return [one(label, False, s, setting.dtype, "pytorch", _TORCH, arguments) for s in strategies]

    def one(
        label: str, ours: bool, strategy: str, dtype: str, runtime: str, load: str, arguments: dict[str, object]
    ) -> Candidate:
        system = System(
            name=name(label, strategy),
            strategy=strategy,
            dtype=dtype,
            runtime=runtime,
            load=load,
            arguments={**arguments, "strategy": strategy},
            baseline=name(eager_label(setting.dtype), strategy),
        )
        return Candidate(label, ours, system)

    def own(target: str, provider: str, dtype: str) -> list[Candidate]:
        arguments: dict[str, object] = {
            "directory": str(artifact),
            "dtype": dtype,
            "target": target,
            "provider": provider,
        }
        return [
            one(our_label(target, provider, dtype), True, s, dtype, target, _POOLFOLD, arguments) for s in strategies
        ]

    first, *others = setting.ours
    return [
        *own(*first),
        *peer(eager_label(setting.dtype), compiled=False),
        *(own(*others[0]) if others else []),
        *peer(compiled_label(setting.dtype), compiled=True),
        *(candidate for ours in others[1:] for candidate in own(*ours)),
    ]


def eager_label(dtype: str) -> str:
    """How eager PyTorch is called."""
    return f"{EAGER} {dtype}"


def compiled_label(dtype: str) -> str:
    """How torch.compile is called."""
    return f"{COMPILED} {dtype}"


def our_label(target: str, provider: str, dtype: str) -> str:
    """How our artifact on a target, or on one of ONNX Runtime's providers, is called."""
    return " ".join(part for part in ("poolfold", target, provider, dtype) if part)
