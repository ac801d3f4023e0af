"""A model in, its results out: exports, then interleaved windows, then memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.peers import exports, inputs, systems
from bench.peers.encode import measure_encode
from bench.peers.load_product import write_graph
from bench.peers.memory import weigh
from bench.peers.models import Model
from bench.peers.results import EncodeResult, MemoryResult, ModelResult, SystemResult, TimingResult, WorkloadResult
from bench.peers.work import Size, product_flops, useful_flops
from exporter.measure.interleave import Progress, measure
from exporter.measure.report import LatencyReport
from exporter.measure.workloads import Workload
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from exporter.targets import availability

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How a run measures. `venv` is optimum's environment; None leaves its exports out."""

    venv: Path | None
    threads: int


def measure_model(model: Model, settings: Settings, say: Say) -> ModelResult:
    """Everything that is measured of one model.

    Raises:
        RuntimeError: an export failed.
        CheckFailed: a system's process died or hung.
    """
    spec = read_spec(Source(model.name, model.checkpoint, None))
    size = _size(model.checkpoint)
    workloads = inputs.timed(spec)
    command, entries = _entries(model, settings, size, workloads, say)
    present = [entry for entry in entries if not entry.missing]
    missing = systems.missing(entries)
    for label, reason in missing.items():
        say(f"{model.name}: without {label}: {reason}")

    say(f"{model.name}: loading {len(present)} processes; torch.compile compiles")
    report = measure(
        [system for entry in present for system in entry.systems()],
        workloads,
        threads=settings.threads,
        budget_s=model.seconds,
        progress=_each_workload_once(model.name, say),
        leave_out=False,
    )
    encoded: tuple[EncodeResult, ...] = ()
    if model.texts:
        say(f"{model.name}: encoding texts")
        ours = [entry for entry in present if entry.side == "ours"]
        rows = next(w for w in workloads if w.name == inputs.RAGGED)
        encoded = measure_encode(model, spec, ours, rows, settings.threads, lambda done, total, what: None)
    weighed = [entry for entry in present if entry.weighed]
    say(f"{model.name}: memory of one large batch, {len(weighed)} processes one after another")
    memory = [weigh(entry, inputs.largest(spec), settings.threads) for entry in weighed]
    return _result(model, size, command, present, missing, workloads, report, memory, encoded)


def _entries(
    model: Model, settings: Settings, size: Size, workloads: tuple[Workload, ...], say: Say
) -> tuple[str, list[systems.Entry]]:
    """Make what is to be measured: our export's command, and all of it."""
    model.build.mkdir(parents=True, exist_ok=True)
    here = {entry.name for entry in availability() if entry.available}
    ours = [(target, dtype) for target, dtype in systems.OURS if target in here]
    targets, dtypes = (list(dict.fromkeys(column)) for column in zip(*ours, strict=True))
    say(f"{model.name}: poolfold export for {', '.join(targets)}")
    artifact = model.build / "artifact"
    command = exports.export_ours(model.checkpoint, artifact, targets, dtypes)
    graphs: Mapping[str, Path] = {}
    if settings.venv is not None:
        say(f"{model.name}: optimum's exports, unless they are kept from before")
        graphs = exports.export_optimum(model.checkpoint, model.build, settings.venv)
    product = model.build / "product.onnx"
    write_graph(product, size.hidden, size.intermediate)
    return command, [
        *systems.peers(model.checkpoint, graphs, inputs.shapes(workloads), left_out="left out by --quick"),
        *systems.ours(artifact, settings.threads),
        *systems.products(product, size),
    ]


def _result(
    model: Model,
    size: Size,
    command: str,
    entries: Sequence[systems.Entry],
    missing: Mapping[str, str],
    workloads: Sequence[Workload],
    report: LatencyReport,
    memory: Sequence[MemoryResult],
    encoded: tuple[EncodeResult, ...],
) -> ModelResult:
    """The numbers of the run, with what they are held against."""
    load_averages = msgspec.convert(
        [report.environment[f"load_average_{when}"] for when in ("before", "after")], tuple[float | None, float | None]
    )
    rounds = [shape.rounds for shape in report.workloads]
    return ModelResult(
        name=model.name,
        size=size,
        export=command,
        systems=tuple(
            SystemResult(
                name=system.name,
                label=entry.label,
                side=entry.side,
                runtime=entry.runtime,
                dtype=entry.dtype,
                strategy=system.strategy,
            )
            for entry in entries
            for system in entry.systems()
        ),
        missing=missing,
        workloads=tuple(_workload(w, size, count) for w, count in zip(workloads, rounds, strict=True)),
        timings=tuple(
            TimingResult(
                system=t.system,
                workload=t.workload,
                calls_per_window=t.calls_per_window,
                windows_ms=tuple(round(ms, 4) for ms in t.windows_ms),
                latency_ms=t.latency_ms,
            )
            for t in report.timings
        ),
        memory=tuple(memory),
        encode=encoded,
        seconds=report.seconds,
        load_averages=load_averages,
    )


def _workload(workload: Workload, size: Size, rounds: int) -> WorkloadResult:
    lengths = [int(n) for batch in workload.batches for n in batch.attention_mask.sum(axis=1)]
    return WorkloadResult(
        name=workload.name,
        rows=workload.batch,
        batches=len(workload.batches),
        tokens=workload.tokens,
        real_tokens=workload.real_tokens,
        rounds=rounds,
        useful_flops={strategy: useful_flops(lengths, size, strategy) for strategy in exports.STRATEGIES},
        product_flops=product_flops(workload.tokens, size),
    )


def _size(checkpoint: Path) -> Size:
    config = json.loads((checkpoint / "config.json").read_text())
    return Size(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])


def _each_workload_once(model: str, say: Say) -> Progress:
    """A line for each round of a workload: who of its systems has its turn would only scroll by."""
    said = ""

    def progress(done: int, total: int, what: str) -> None:
        nonlocal said
        line = ", ".join(what.split(", ")[:2])
        if line != said:
            said = line
            say(f"{model}: {line} ({done} of {total} steps done)")

    return progress
