"""What the capture hands to the other stages: plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.parity.proof import Proof
from exporter.parity.tokens import Tokens
from exporter.spec.model import ModelSpec
from graphs.pooling.head import Head
from graphs.pooling.strategy import Strategy
from poolfold.manifest import Profile


@dataclass(frozen=True)
class Plan:
    """The options, held against the checkpoint, whose files have the hash `source_sha256`.

    tokens: all texts, as long as the model takes them.
    """

    spec: ModelSpec
    source_sha256: str
    strategies: tuple[Strategy, ...]
    head: Head
    profiles: tuple[Profile, ...]
    tokens: Tokens

    @property
    def shown(self) -> Strategy:
        """The strategy that other programs are given: the trained one, or else the first."""
        return self.spec.trained if self.spec.trained in self.strategies else self.strategies[0]


@dataclass(frozen=True)
class Capture:
    """What is left of PyTorch: the plan, the reference vectors, and the clean fp32 encoder in `encoder`."""

    plan: Plan
    proof: Proof
    encoder: Path
