"""A model in, its results out: exports, then interleaved windows, then texts and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench import batches, exports
from bench.encode import measure_encode
from bench.load_product import write_graph
from bench.models import Model
from bench.peers import systems
from bench.results import MemoryResult, ModelResult
from bench.systems import Entry
from bench.turns import STRATEGIES, Say, begun, in_turns
from bench.work import Size, size_of
from exporter.measure.interleave import Progress
from exporter.measure.process import weigh
from exporter.measure.workloads import Workload
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source


@dataclass(frozen=True)
class Settings:
    """How a run measures. `venv` is optimum's environment; None leaves its exports out."""

    venv: Path | None
    threads: int


def measure_model(model: Model, settings: Settings, say: Say) -> ModelResult:
    """Everything that is measured of one model.

    Raises:
        RuntimeError: an export failed.
        CheckFailed: PyTorch's process, which everything is compared with, died or hung.
    """
    spec, size = read_spec(Source(model.name, model.checkpoint, None)), size_of(model.checkpoint)
    workloads = batches.timed(spec, batches.ON_PROCESSOR)
    command, entries = _entries(model, settings, size, workloads, say)
    present = [entry for entry in entries if not entry.missing]
    missing = {entry.label: entry.missing for entry in entries if entry.missing}
    for label, reason in missing.items():
        say(f"{model.name}: without {label}: {reason}")

    say(f"{model.name}: loading {len(present)} processes; torch.compile compiles")
    result = in_turns(
        begun(model.name, size, command, workloads, missing),
        present,
        workloads,
        threads=settings.threads,
        seconds=model.seconds,
        say=say,
        progress=_each_workload_once(model.name, say),
    )
    if model.texts:
        say(f"{model.name}: encoding texts")
        ours = [entry for entry in present if entry.side == "ours"]
        rows = next(w for w in workloads if w.name == batches.RAGGED)
        result = msgspec.structs.replace(result, encode=measure_encode(model, spec, ours, rows, settings.threads))
    weighed = [entry for entry in present if entry.weighed]
    say(f"{model.name}: memory of one large batch, {len(weighed)} processes one after another")
    memory = [memory_of(entry, batches.largest(spec), settings.threads) for entry in weighed]
    return msgspec.structs.replace(result, memory=tuple(memory))


def memory_of(entry: Entry, workload: Workload, threads: int) -> MemoryResult:
    """What a system and one call add to a process that has run nothing else, with its libraries imported."""
    (increase,) = weigh(entry.systems()[0], [workload], threads)
    return MemoryResult(
        label=entry.label,
        runtime=entry.runtime,
        dtype=entry.dtype,
        side=entry.side,
        strategy=entry.strategies[0] if entry.side == "ours" else "",
        workload=workload.name,
        increase_bytes=increase,
    )


def _entries(
    model: Model, settings: Settings, size: Size, workloads: tuple[Workload, ...], say: Say
) -> tuple[str, list[Entry]]:
    """Make what is to be measured: our export's command, and all of it."""
    artifact, graphs = model.build / "artifact", dict[str, Path]()
    say(f"{model.name}: poolfold export")
    command = exports.export_ours(model.checkpoint, artifact, systems.OURS, STRATEGIES).command
    if settings.venv is not None:
        say(f"{model.name}: optimum's exports, unless they are kept from before")
        graphs = exports.export_optimum(model.checkpoint, model.build, settings.venv)
    product = model.build / "product.onnx"
    write_graph(product, size.hidden, size.intermediate)
    return command, [
        *systems.peers(model.checkpoint, graphs, batches.shapes(workloads), left_out="left out by --quick"),
        *systems.ours(artifact, settings.threads),
        *systems.products(product, size),
    ]


def _each_workload_once(model: str, say: Say) -> Progress:
    """A line for each round of a workload: who of its systems has its turn would only scroll by."""
    last = ""

    def progress(done: int, total: int, what: str) -> None:
        nonlocal last
        line = ", ".join(what.split(", ")[:2])
        if line != last:
            last = line
            say(f"{model}: {line} ({done} of {total} steps done)")

    return progress
