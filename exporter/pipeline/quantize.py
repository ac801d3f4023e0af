"""How the weights of a model are put into 8 bits, and which layers are not: found on texts that judge nothing."""

from __future__ import annotations

from collections.abc import Collection
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
from exporter.spec.options import ExportOptions
from graphs.files.weights import load_graph
from graphs.quantization.linears import groups
from graphs.quantization.quantized import Quantization
from poolfold.errors import CheckFailed
from poolfold.manifest import KeptLayers, Quantized

_RESERVE = 0.4
"""Of the way from the floor to 1: what other texts may fall below those that int8 is made by."""


@dataclass(frozen=True, eq=False)
class Int8:
    """What the int8 graphs of a model are made by.

    floor: the cosine that no text may fall below.
    texts: how many calibrated.
    """

    quantization: Quantization
    choice: Choice
    floor: float
    texts: int

    def describe(self, target: str, layers: int) -> Quantized:
        """What the manifest says of a graph with so many linear layers in int8."""
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


def quantize(directory: Path, encoder: Path, plan: Plan, options: ExportOptions, stage: Stage) -> Int8:
    """Calibrate, and choose the layers that stay fp32.

    Args:
        directory: the artifact, which gets a report of every trial.
        encoder: the clean fp32 encoder.
        plan: the model.
        options: texts, floor and threads.
        stage: is told what was found.

    Raises:
        CheckFailed: no choice of layers reaches the floor.
    """
    floor = options.int8_floor
    tokens = calibration_texts(plan.spec, options.calibrating)
    calibration = calibrate(encoder, tokens, options.threads, stage.progress)
    quantization = Quantization(calibration.smoothing, calibration.one_sided)
    trials = Trials(encoder, tokens, plan.strategies, plan.head, quantization, options.threads)
    done = 0

    def measure(kept: Collection[str]) -> float:
        nonlocal done
        stage.progress(done, done + 1, f"trial {done + 1}")
        done += 1
        return trials.worst(kept)

    of_model = groups(load_graph(encoder).graph)
    choice = choose_kept(of_model, measure, floor + _RESERVE * (1 - floor))
    write_report(directory, "quantization", [msgspec.to_builtins(trial) for trial in choice.trials])
    every = {name for group in of_model for name in group.weights}
    if choice.chosen.cosine < floor or not every - choice.kept:
        first, last = choice.trials[0], choice.trials[-1]
        raise CheckFailed(
            f"int8 does not hold --int8-floor {floor}: with all {count(len(of_model), 'group')} of linear layers in "
            f"int8 the smallest cosine of {len(tokens.texts)} texts is {first.cosine:.4f}, and {last.cosine:.4f} with "
            f"{last.share:.0%} of their weights in fp32. Take a lower floor, or leave int8 out."
        )
    stage.outcome = _told(choice, len(tokens.texts), len(options.calibrating))
    return Int8(replace(quantization, kept=choice.kept), choice, floor, len(tokens.texts))


def _told(choice: Choice, texts: int, own: int) -> str:
    by = f"{count(texts, 'text')}{f', {own} of them yours, which judge nothing' if own else ''}"
    chosen, without = choice.chosen, choice.trials[0]
    if not chosen.kept:
        return f"every linear layer in int8, worst cosine {chosen.cosine:.4f} of {by}"
    return (
        f"{chosen.kept} stay fp32 ({chosen.share:.0%} of the weights): worst cosine {chosen.cosine:.4f} of {by}, "
        f"{without.cosine:.4f} without"
    )
