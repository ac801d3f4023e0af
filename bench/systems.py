"""What may be timed, as data: a process to be, and the systems that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exporter.measure.systems import System

EAGER, COMPILED = "PyTorch eager", "torch.compile"
Side = Literal["ours", "peer", "product"]


@dataclass(frozen=True)
class Entry:
    """A process to be: what it loads, and the strategies it gives vectors for.

    baseline: the label of what it is compared with; empty for itself.
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
    baseline: str = ""
    missing: str = ""
    weighed: bool = False

    def systems(self) -> tuple[System, ...]:
        """One for each strategy, in one process."""
        return tuple(
            System(
                name=name(self.label, strategy),
                strategy=strategy,
                dtype=self.dtype,
                runtime=self.runtime,
                load=self.load,
                arguments=self.arguments,
                baseline=name(self.baseline or self.label, strategy),
                process=self.label if len(self.strategies) > 1 else "",
            )
            for strategy in self.strategies
        )


def name(label: str, strategy: str) -> str:
    """A system's name."""
    return f"{label}, {strategy}" if strategy else label


def our_label(target: str, dtype: str, provider: str = "") -> str:
    """How our artifact on a target, or on one of ONNX Runtime's providers, is called."""
    return " ".join(part for part in ("poolfold", target, provider, dtype) if part)
