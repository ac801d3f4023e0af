"""Each system alone, one after another: who runs here, how near its vectors are, and why others do not run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.gpu.parity import smallest_cosine
from bench.gpu.probe import Probed, probe
from bench.gpu.systems import COMPILED, EAGER, RTX, Candidate, Setting, candidates
from exporter.measure.workloads import Workload
from poolfold.errors import CheckFailed

Say = Callable[[str], None]
Vectors = npt.NDArray[np.float32]

LEAST_PROBE_S = 5.0
"""With less time left a system is not tried."""
_EAGER_S = 600.0
_LEAST_WEIGHTS_SHARE = 0.25
"""Of the fp32 weights: half of what fp16 weights take on the card. Less means that they are not there."""


@dataclass(frozen=True)
class Settings:
    """How a run measures.

    compiled: whether torch.compile takes part.
    quick: whether the fewest rounds will do.
    threads: of an operator on the processor, in every system.
    """

    setting: Setting
    strategies: tuple[str, ...]
    compiled: bool
    quick: bool
    threads: int


class Alone(NamedTuple):
    """Who runs, with its smallest cosine; who does not, system -> reason; whether tensorrt-rtx does, in words."""

    found: tuple[tuple[Candidate, Probed, float], ...]
    missing: Mapping[str, str]
    answer: str


def probe_all(
    checkpoint: Path,
    artifact: Path,
    workloads: Sequence[Workload],
    wanted: Mapping[str, list[Vectors]],
    settings: Settings,
    until: float,
    unavailable: Mapping[str, str],
    say: Say,
    keep: Callable[[Alone], None],
) -> None:
    """Probe each system, and hand on what is known after each. Those that are compared with run whatever the time.

    Args:
        checkpoint: of the transformer.
        artifact: ours.
        workloads: what each runs.
        wanted: by strategy, PyTorch's fp32 vectors of each workload.
        settings: how.
        until: the monotonic time after which no further one is tried.
        unavailable: targets that the artifact could not be made for, with the reason.
        say: told what happens.
        keep: given what is known so far.

    Raises:
        CheckFailed: one of those does not run.
    """
    found: list[tuple[Candidate, Probed, float]] = []
    missing: dict[str, str] = {}
    answers: list[str] = []
    on_card = settings.setting.device == "cuda"
    least = _weights_bytes(checkpoint) * _LEAST_WEIGHTS_SHARE if on_card else 0
    for candidate in candidates(settings.setting, checkpoint, artifact, settings.strategies):
        name, is_baseline = candidate.system.name, candidate.label.startswith(EAGER)
        limit_s = until - time.monotonic()
        if candidate.label.startswith(COMPILED) and not settings.compiled:
            outcome: tuple[Probed, float] | str = "left out by --no-compile"
        else:
            outcome = probed(
                candidate, workloads, wanted, settings, max(limit_s, _EAGER_S) if is_baseline else limit_s, least
            )
        if isinstance(outcome, str):
            if is_baseline:
                raise CheckFailed(f"{name}, which all are compared with, does not run: {outcome}")
            missing[name] = unavailable.get(candidate.system.runtime, outcome)
            told = f"does not run: {missing[name]}"
        else:
            found.append((candidate, *outcome))
            told = f"runs; smallest row cosine {outcome[1]:.6f}"
        say(f"{name}: {told}")
        if candidate.system.runtime == RTX:
            if not answers:
                say(f"does tensorrt-rtx load and run our engine on this card? It {told}")
            answers.append(told)
        keep(Alone(tuple(found), dict(missing), answers[0]))


def probed(
    candidate: Candidate,
    workloads: Sequence[Workload],
    wanted: Mapping[str, list[Vectors]],
    settings: Settings,
    limit_s: float,
    least_bytes: float,
) -> tuple[Probed, float] | str:
    """What a system gave, with its smallest cosine; or why it does not count as running."""
    if limit_s < LEAST_PROBE_S:
        return "not tried: the time was spent on the systems before it; give more with --seconds"
    outcome = probe(candidate.system, workloads, settings.setting.device, settings.threads, limit_s)
    if isinstance(outcome, str):
        return outcome
    if outcome.increase_bytes is not None and outcome.increase_bytes < least_bytes:
        return (
            f"it took {outcome.increase_bytes} bytes of the card's memory, and its weights alone are more than "
            f"{least_bytes:.0f}: it computed elsewhere"
        )
    try:
        return outcome, smallest_cosine(outcome.vectors, wanted[candidate.system.strategy])
    except ValueError as error:
        return str(error)


def _weights_bytes(checkpoint: Path) -> int:
    """Of the weights' files, which hold fp32."""
    return sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
