"""A model in, its results out: rates, reference, each system alone, then all of them in turns. Kept after each step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from bench.gpu import batches
from bench.gpu.alone import Alone, Say, Settings, probe_all
from bench.gpu.probe import Probed, in_words, reference
from bench.gpu.results import CallsResult, ModelResult, Rates, SystemResult, TimingResult, WorkloadResult
from bench.gpu.systems import EAGER, Candidate, Setting
from bench.gpu.traffic import least_bytes
from bench.peers.exports import export_ours
from bench.peers.models import Model
from bench.peers.work import Size, useful_flops
from exporter.host.child_process import OwnProcess
from exporter.measure.interleave import measure
from exporter.measure.report import LatencyReport
from exporter.measure.workloads import Workload
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from exporter.targets import availability
from poolfold.errors import CheckFailed

Keep = Callable[[ModelResult], None]

_PROBING_SHARE = 0.6
_LOADING_S = 20.0
"""Of all systems side by side, compiled code kept from the probes."""


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
    spec, setting = read_spec(Source(model.name, model.checkpoint, None)), settings.setting
    workloads = batches.timed(spec)
    made, artifact, unavailable = _artifact(model, artifact, setting, say)
    probing_until = time.monotonic() + _PROBING_SHARE * (until - time.monotonic())

    say("PyTorch fp32, the reference")
    wanted = reference(str(model.checkpoint), settings.strategies, workloads, setting.device, settings.threads)
    with OwnProcess("bench.gpu.card:rates", setting.device, setting.dtype) as process:
        flops, per_s = process.result()
    say(f"{setting.dtype} product {flops / 1e12:.3g} TFLOP/s, copy {per_s / 1e9:.4g} GB/s")

    size = _size(model.checkpoint)
    result = ModelResult(
        name=model.name,
        dtype=setting.dtype,
        size=size,
        artifact=made,
        rates=Rates(dtype=setting.dtype, flops=flops, bytes=per_s),
        tensorrt_rtx="not tried yet",
        systems=(),
        missing={},
        workloads=tuple(_workload(w, size, settings.strategies) for w in workloads),
        calls=(),
    )
    present: list[Candidate] = []

    def keep_alone(alone: Alone) -> None:
        nonlocal result, present
        present = [candidate for candidate, _, _ in alone.found]
        result = _with(
            result,
            tensorrt_rtx=alone.answer,
            systems=tuple(_system(candidate, probed, cosine) for candidate, probed, cosine in alone.found),
            missing=alone.missing,
            calls=tuple(c for candidate, probed, _ in alone.found for c in _calls(candidate, workloads, probed)),
        )
        keep(result)

    keep(result)
    probe_all(model.checkpoint, artifact, workloads, wanted, settings, probing_until, unavailable, say, keep_alone)
    result = in_turns(result, present, workloads, settings, until, say)
    keep(result)
    return result


def in_turns(
    result: ModelResult,
    present: Sequence[Candidate],
    workloads: Sequence[Workload],
    settings: Settings,
    until: float,
    say: Say,
) -> ModelResult:
    """The results with interleaved windows. A system that dies beside the others is named, and they go on without."""
    missing, left = dict(result.missing), list(present)
    while True:
        say(f"{len(left)} systems in turns, each in its own process")
        seconds = 0.0 if settings.quick else until - time.monotonic() - _LOADING_S
        try:
            report = measure(
                [candidate.system for candidate in left],
                workloads,
                threads=settings.threads,
                budget_s=max(0.0, seconds),
                progress=lambda done, total, what: None,
                leave_out=False,
            )
        except CheckFailed as error:
            died = next((c for c in left if str(error).startswith(f"measuring {c.system.name}:")), None)
            reason = f"ran alone, and not beside the others: {in_words(error)}"
            if died is None or died.label.startswith(EAGER):
                return _with(result, missing=missing, failed=reason)
            say(f"{died.system.name}: {reason}")
            missing[died.system.name] = reason
            left.remove(died)
            continue
        return _with(result, missing=missing, timings=_timings(report))


def _artifact(model: Model, given: Path | None, setting: Setting, say: Say) -> tuple[str, Path, Mapping[str, str]]:
    """How the artifact came to be, where it lies, and the targets it could not be made for, with the reason."""
    if given is not None:
        return f"given: {given.name}", given, {}
    entries = availability()
    here = {entry.name for entry in entries if entry.available}
    targets = [t for t, _, dtype in setting.ours if t in here and dtype == setting.dtype]
    say(f"poolfold export for {', '.join(dict.fromkeys(targets))}")
    model.build.mkdir(parents=True, exist_ok=True)
    folder = model.build / f"artifact-{setting.device}"
    command = export_ours(model.checkpoint, folder, list(dict.fromkeys(targets)), [setting.dtype])
    return command, folder, {entry.name: entry.reason or "" for entry in entries if not entry.available}


def _system(candidate: Candidate, probed: Probed, cosine: float) -> SystemResult:
    system = candidate.system
    return SystemResult(
        name=system.name,
        label=candidate.label,
        ours=candidate.ours,
        runtime=system.runtime,
        dtype=system.dtype,
        strategy=system.strategy,
        smallest_cosine=cosine,
        peak_bytes=probed.increase_bytes,
    )


def _calls(candidate: Candidate, workloads: Sequence[Workload], probed: Probed) -> list[CallsResult]:
    return [
        CallsResult(
            system=candidate.system.name,
            workload=workload.name,
            calls=len(calls),
            p50_ms=float(np.percentile(calls, 50)),
            p99_ms=float(np.percentile(calls, 99)),
        )
        for workload, calls in zip(workloads, probed.calls_ms, strict=True)
    ]


def _workload(workload: Workload, size: Size, strategies: Sequence[str]) -> WorkloadResult:
    lengths = [int(n) for batch in workload.batches for n in batch.attention_mask.sum(axis=1)]
    rows, tokens, real = workload.batch, workload.tokens, workload.real_tokens
    return WorkloadResult(
        name=workload.name,
        rows=rows,
        tokens=tokens,
        real_tokens=real,
        useful_flops={strategy: useful_flops(lengths, size, strategy) for strategy in strategies},
        least_bytes={dtype: least_bytes(rows, tokens, real, size, dtype) for dtype in ("fp16", "fp32")},
    )


def _timings(report: LatencyReport) -> tuple[TimingResult, ...]:
    return tuple(
        TimingResult(
            system=t.system,
            workload=t.workload,
            windows_ms=tuple(round(ms, 5) for ms in t.windows_ms),
            latency_ms=t.latency_ms,
            texts_per_s=t.sentences_per_s,
            real_tokens_per_s=t.tokens_per_s,
        )
        for t in report.timings
    )


def _with(result: ModelResult, **changes: object) -> ModelResult:
    changed: ModelResult = msgspec.structs.replace(result, **changes)
    return changed


def _size(checkpoint: Path) -> Size:
    config = json.loads((checkpoint / "config.json").read_text())
    return Size(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])
