"""A model in, its results out: rates, reference, each system alone, then all of them in turns. Kept after each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from bench import batches
from bench.exports import Exported, export_ours
from bench.gpu.probe import Probed, probe, reference
from bench.gpu.systems import RTX, Setting, entries
from bench.models import Model
from bench.results import CallsResult, MemoryResult, ModelResult, Rates
from bench.systems import COMPILED, Entry
from bench.turns import STRATEGIES, Say, begun, in_turns, system_results
from bench.work import size_of
from exporter.host.child_process import OwnProcess
from exporter.measure.process import in_words
from exporter.measure.workloads import Workload
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from poolfold.errors import CheckFailed

Keep = Callable[[ModelResult], None]

_UNTRIED = "not tried yet"
_PROBING_SHARE = 0.6
_EAGER_S = 600.0
_LOADING_S = 20.0
"""Of all systems side by side, compiled code kept from the probes."""
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


def measure_model(
    model: Model, artifact: Path | None, settings: Settings, until: float, say: Say, keep: Keep
) -> ModelResult:
    """Everything that is measured of one model.

    Args:
        model: its checkpoint.
        artifact: what `poolfold export` made of it; None to make it now.
        settings: how.
        until: the monotonic time by which it should be over. The fewest rounds are made even past it.
        say: told what happens.
        keep: given the results, whenever there are more.

    Raises:
        RuntimeError: the export failed.
        CheckFailed: PyTorch itself, which everything is compared with, does not run.
    """
    spec, setting, size = (
        read_spec(Source(model.name, model.checkpoint, None)),
        settings.setting,
        size_of(model.checkpoint),
    )
    workloads = batches.timed(spec, batches.ON_GPU)
    exported = Exported(f"given: {artifact.name}" if artifact else "", {})
    if artifact is None:
        say("poolfold export for the targets that are here")
        artifact = model.build / f"artifact-{setting.device}"
        targets = [(target, dtype) for target, _, dtype in setting.ours if dtype == setting.dtype]
        exported = export_ours(model.checkpoint, artifact, targets, STRATEGIES)
    probing_until = time.monotonic() + _PROBING_SHARE * (until - time.monotonic())

    say("PyTorch fp32, the reference")
    wanted = reference(str(model.checkpoint), settings.strategies, workloads, setting.device, settings.threads)
    with OwnProcess("bench.gpu.card:rates", setting.device, setting.dtype) as process:
        flops, per_s = process.result()
    say(f"{setting.dtype} product {flops / 1e12:.3g} TFLOP/s, copy {per_s / 1e9:.4g} GB/s")
    rates = Rates(dtype=setting.dtype, flops=flops, bytes=per_s)
    result = begun(model.name, size, exported.command, workloads, {}, moved=("fp16", "fp32"))
    result = msgspec.structs.replace(result, rates=rates, tensorrt_rtx=_UNTRIED)
    keep(result)

    weights = sum(path.stat().st_size for path in model.checkpoint.glob("*.safetensors"))
    least_bytes = weights * _LEAST_WEIGHTS_SHARE if setting.device == "cuda" else 0.0
    present: list[Entry] = []
    for entry in entries(setting, model.checkpoint, artifact, settings.strategies):
        limit_s, is_baseline = probing_until - time.monotonic(), entry.label == setting.eager
        if is_baseline:
            limit_s = max(limit_s, _EAGER_S)
        outcome: tuple[Probed, float] | str = "left out by --no-compile"
        if settings.compiled or not entry.label.startswith(COMPILED):
            outcome = probe(entry, workloads, wanted, setting.device, settings.threads, limit_s, least_bytes)
        if isinstance(outcome, str):
            outcome = exported.unavailable.get(entry.runtime, outcome)
            if is_baseline:
                raise CheckFailed(f"{entry.label}, which all are compared with, does not run: {outcome}")
        else:
            present.append(entry)
        result = _with(result, entry, workloads, outcome, say)
        keep(result)
    result = _in_turns(result, present, workloads, settings, until, say)
    keep(result)
    return result


def _in_turns(
    result: ModelResult,
    present: Sequence[Entry],
    workloads: Sequence[Workload],
    settings: Settings,
    until: float,
    say: Say,
) -> ModelResult:
    """The results with windows, or with the reason why there are none."""
    say(f"{len(present)} systems in turns, each in its own process")
    seconds = 0.0 if settings.quick else until - time.monotonic() - _LOADING_S
    try:
        return in_turns(result, present, workloads, threads=settings.threads, seconds=seconds, say=say)
    except CheckFailed as error:
        return msgspec.structs.replace(result, failed=in_words(error))


def _with(
    result: ModelResult, entry: Entry, workloads: Sequence[Workload], outcome: tuple[Probed, float] | str, say: Say
) -> ModelResult:
    """The results with what a system gave alone, or why it does not run."""
    (system,) = system_results([entry])
    changes: Mapping[str, object]
    if isinstance(outcome, str):
        told = f"does not run: {outcome}"
        changes = {"missing": {**result.missing, system.name: outcome}}
    else:
        probed, cosine = outcome
        told = f"runs; smallest row cosine {cosine:.6f}"
        memory = MemoryResult(
            label=system.label, runtime=system.runtime, dtype=system.dtype, side=system.side, strategy=system.strategy,
            workload="all", increase_bytes=probed.increase_bytes,
        )  # fmt: skip
        made = [
            CallsResult(
                system=system.name,
                workload=workload.name,
                calls=len(calls),
                p50_ms=float(np.percentile(calls, 50)),
                p99_ms=float(np.percentile(calls, 99)),
            )
            for workload, calls in zip(workloads, probed.calls_ms, strict=True)
        ]
        changes = {
            "systems": (*result.systems, msgspec.structs.replace(system, smallest_cosine=cosine)),
            "memory": (*result.memory, memory),
            "calls": (*result.calls, *made),
        }
    say(f"{system.name}: {told}")
    if system.runtime == RTX and result.tensorrt_rtx == _UNTRIED:
        say(f"does tensorrt-rtx load and run our engine on this card? It {told}")
        changes = {**changes, "tensorrt_rtx": told}
    changed: ModelResult = msgspec.structs.replace(result, **changes)
    return changed
