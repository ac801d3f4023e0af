"""How the weights of a model are put into 8 bits, and which layers are not: found on texts that judge nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from exporter.artifact.layout import write_report
from exporter.host.console import Stage, count
from exporter.pipeline.plan import Plan
from exporter.quantization.calibrate import calibrate
from exporter.quantization.sensitivity import Choice, choose_kept
from exporter.quantization.texts import calibration_texts
from exporter.quantization.trial import Trials
from exporter.spec.model import DType
from exporter.spec.options import ExportOptions
from graphs.files.weights import load_graph
from graphs.quantization.linears import Linears, groups
from graphs.quantization.numbers import FP8, INT8
from graphs.quantization.quantized import Quantization
from poolfold.errors import CheckFailed
from poolfold.manifest import KeptLayers, Quantized
from poolfold.sessions.targets import Rounding, find_target

_RESERVE = 0.4
"""Of the way from the floor to 1: what other texts may fall below those that int8 is made by."""
_NUMBERS = {DType.INT8: INT8, DType.FP8: FP8}


@dataclass(frozen=True, eq=False)
class EightBits:
    """What the graphs of a target in int8 or fp8 are made by.

    floor: the cosine that no text may fall below.
    texts: how many calibrated.
    """

    quantization: Quantization
    choice: Choice
    floor: float
    texts: int

    def describe(self, target: str, layers: int) -> Quantized:
        """What the manifest says of a graph with so many linear layers in 8 bits."""
        chosen = self.choice.chosen
        kept = KeptLayers(chosen.kept, round(chosen.share, 4), chosen.cosine) if chosen.kept else None
        return Quantized(
            target=target,
            floor=self.floor,
            texts=self.texts,
            layers=layers,
            kept=kept,
            cosine=chosen.cosine,
            without=self.choice.trials[0].cosine,
        )


Wanted = tuple[str, DType]
"""A target, and a precision of 8 bits that graphs are made in for it."""


def quantize(
    directory: Path, encoder: Path, plan: Plan, options: ExportOptions, wanted: Sequence[Wanted], stage: Stage
) -> dict[Wanted, EightBits]:
    """Calibrate, and choose the layers that stay as they are: for each target, those on a CPU sharing one choice.

    Args:
        directory: the artifact, which gets a report of every trial.
        encoder: the clean fp32 encoder.
        plan: the model.
        options: texts, floor and threads.
        wanted: what graphs are made for.
        stage: is told what was found.

    Raises:
        CheckFailed: no choice of layers reaches the floor.
    """
    tokens = calibration_texts(plan.spec, options.calibrating)
    calibration = calibrate(encoder, tokens, options.threads, stage.progress)
    trials = Trials(encoder, tokens, plan.strategies, plan.head, options.threads)
    of_model = groups(load_graph(encoder).graph)
    made: dict[str, EightBits] = {}
    found: dict[Wanted, EightBits] = {}
    for target, dtype in wanted:
        rounding = find_target(target).rounding
        static = rounding is Rounding.STATIC
        name = f"{dtype} for {target}" if static else str(dtype)
        if name not in made:
            quantization = calibration.static(_NUMBERS[dtype]) if static else calibration.dynamic()
            measure = _Measure(trials, quantization, Rounding.STATIC if static else Rounding.ROWS, name, stage)
            choice = choose_kept(of_model, measure, _least(options.int8_floor))
            _require(choice, of_model, options.int8_floor, name, len(tokens.texts))
            made[name] = EightBits(
                replace(quantization, kept=choice.kept), choice, options.int8_floor, len(tokens.texts)
            )
        found[target, dtype] = made[name]
    reports = {name: [msgspec.to_builtins(trial) for trial in of.choice.trials] for name, of in made.items()}
    write_report(directory, "quantization", reports)
    own = len(options.calibrating)
    by = f"{count(len(tokens.texts), 'text')}{f', {own} of them yours, which judge nothing' if own else ''}"
    stage.outcome = f"{'; '.join(_told(name, of.choice) for name, of in made.items())}; of {by}"
    return found


def _least(floor: float) -> float:
    return floor + _RESERVE * (1 - floor)


class _Measure:
    """Tries choices of layers out."""

    def __init__(self, trials: Trials, quantization: Quantization, rounding: Rounding, name: str, stage: Stage) -> None:
        self._trials, self._quantization, self._rounding = trials, quantization, rounding
        self._name, self._stage, self._done = name, stage, 0

    def __call__(self, kept: Collection[str]) -> float:
        """The smallest cosine of any text with these weights in fp32."""
        self._stage.progress(self._done, self._done + 1, f"{self._name}, trial {self._done + 1}")
        self._done += 1
        return self._trials.worst(replace(self._quantization, kept=frozenset(kept)), self._rounding)


def _require(choice: Choice, of_model: Sequence[Linears], floor: float, name: str, texts: int) -> None:
    every = {weight for group in of_model for weight in group.weights}
    if choice.chosen.cosine >= floor and every - choice.kept:
        return
    first, last = choice.trials[0], choice.trials[-1]
    raise CheckFailed(
        f"{name} does not hold --int8-floor {floor}: with all {count(len(of_model), 'group')} of linear layers in 8 "
        f"bits the smallest cosine of {texts} texts is {first.cosine:.4f}, and {last.cosine:.4f} with "
        f"{last.share:.0%} of their weights in fp32. Take a lower floor, or leave {name.split()[0]} out."
    )


def _told(name: str, choice: Choice) -> str:
    chosen, without = choice.chosen, choice.trials[0]
    if not chosen.kept:
        return f"{name}: every linear layer, worst cosine {chosen.cosine:.4f}"
    return (
        f"{name}: all but {chosen.kept} ({chosen.share:.0%} of the weights), worst cosine {chosen.cosine:.4f}, "
        f"{without.cosine:.4f} with these"
    )
