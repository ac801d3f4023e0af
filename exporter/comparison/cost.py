"""What each entry costs: latency and throughput over lengths and batches, and peak memory over lengths.

Beside them, the cost without poolfold: the model in PyTorch, and its graph as exporters commonly leave it, with token
embeddings as output. Both are pooled by one strategy, since pooling takes no measurable time beside a transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from exporter.comparison.entries import Entry
from exporter.host.console import count
from exporter.measure.interleave import measure
from exporter.measure.process import weigh
from exporter.measure.report import LatencyReport, Shape, Timing
from exporter.measure.systems import System, artifact_system
from exporter.measure.workloads import Workload, filled, ordinary_ids
from graphs.pooling.head import Cut
from poolfold.sessions.threads import default_threads

_LENGTHS = (16, 64, 128, 256, 512)
_ALONE = (16, 128, 512)
_ROWS = 16
USUAL_LENGTH = 128
"""Tokens of the batch that a table shows, or the model's limit where that is less."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cost:
    """Times and memory.

    latency: every system on every workload, interleaved.
    memory: system -> tokens of a row -> MiB that the model and a batch of that length add to a process.
    rows: of those batches.
    missing: what could not be measured, and why.
    """

    latency: LatencyReport
    memory: Mapping[str, Mapping[int, float]]
    rows: int
    missing: tuple[str, ...] = ()

    @property
    def usual(self) -> Shape | None:
        """The workload that a table shows: `rows` rows of the usual length; None where no such one was measured."""
        shapes = [s for s in self.latency.workloads if s.batch == self.rows and s.seq_len <= USUAL_LENGTH]
        return max(shapes, key=lambda shape: shape.seq_len, default=None)

    def timing(self, system: str) -> Timing | None:
        """A system on the usual workload; None where it was not measured."""
        usual = None if self.usual is None else self.usual.name
        return next((t for t in self.latency.timings if (t.system, t.workload) == (system, usual)), None)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of what is not there, and of what is there and not to be trusted."""
        said = [*self.missing]
        if self.latency.left_out:
            shown = "; ".join(f"{name} {reason}" for name, reason in self.latency.left_out.items())
            said.append(f"Not timed (texts x tokens): {shown}. --seconds gives more time.")
        marked, seen = sum(timing.disturbed for timing in self.latency.timings), self.latency.disturbance
        why = f"O{str(seen)[1:]}" if seen.disturbed else "Times vary by half from round to round"
        if marked:
            said.append(
                f"{why}: {marked} of {count(len(self.latency.timings), 'time')} cannot be relied on and "
                f"{'is' if marked == 1 else 'are'} marked ?. Nothing is said by them. Measure again on an idle machine."
            )
        elif seen.disturbed:
            said.append(f"{why}, and do not count. The others sufficed.")
        return tuple(said)

    def most_memory(self, system: str) -> float | None:
        """MiB at the greatest length that was measured."""
        lengths = self.memory.get(system, {})
        return lengths[max(lengths)] if lengths else None


def system_name(entry: Entry, dtype: str) -> str:
    """What an entry's graph is called among the systems."""
    return f"{entry.name} {dtype}"


def measure_cost(
    entries: Sequence[Entry],
    dtypes: Sequence[str],
    beside: Sequence[System],
    *,
    threads: int | None,
    budget_s: float,
    progress: Progress,
) -> Cost:
    """Measure the entries in each precision that they have, and what they are held against.

    Args:
        entries: what is compared.
        dtypes: precisions.
        beside: systems without poolfold; the first is what others' times are divided into. May be empty.
        threads: of every system alike; None for `default_threads`.
        budget_s: about how long the timed part may take.
        progress: called with (done, in all, what is measured).
    """
    systems = [*beside, *_graphs(entries, dtypes)]
    systems = [replace(system, baseline=systems[0].name) for system in systems]
    lengths = tuple(sorted({min(length, _limit(entries)) for length in _LENGTHS}))
    alone = tuple(sorted({min(length, _limit(entries)) for length in _ALONE}))
    batches = [_workload(entries, _ROWS, length) for length in lengths]
    timed = sorted([*(_workload(entries, 1, length) for length in alone), *batches], key=lambda w: w.tokens)
    latency = measure(systems, timed, threads=threads, budget_s=budget_s, progress=progress)
    memory: dict[str, Mapping[int, float]] = {}
    for done, system in enumerate(systems):
        progress(done, len(systems), f"memory of {system.name}")
        added_bytes = dict(zip(lengths, weigh(system, batches, threads or default_threads()), strict=True))
        memory[system.name] = {
            length: round(added / 2**20, 1) for length, added in added_bytes.items() if added is not None
        }
    return Cost(latency, memory, _ROWS)


def _graphs(entries: Sequence[Entry], dtypes: Sequence[str]) -> list[System]:
    from graphs.pooling.strategy import parse_strategy

    return [
        replace(artifact_system(entry.artifact, parse_strategy(entry.strategy), dtype), name=system_name(entry, dtype))
        for dtype in dtypes
        for entry in entries
        if entry.manifest.graph(entry.strategy, dtype) is not None
    ]


def _limit(entries: Sequence[Entry]) -> int:
    return min(entry.manifest.model.text.max_seq_length for entry in entries)


def _workload(entries: Sequence[Entry], rows: int, length: int) -> Workload:
    """Full rows of random tokens that every model has: what they say changes nothing of the time."""
    first = entries[0]
    text, vocab = first.manifest.model.text, min(entry.manifest.model.vocab_size for entry in entries)
    tokenizer = (first.artifact / "tokenizer.json").read_text(encoding="utf-8")
    ids = ordinary_ids(text, vocab, tokenizer)
    return Workload(f"{rows}x{length}", (filled([length] * rows, ids, text, np.random.default_rng(0)),))


def token_embeddings_system(graph: Path, folder: Path, strategy: str, width: int) -> System:
    """A graph that ends in token embeddings, in ONNX Runtime, pooled in numpy.

    Args:
        graph: the file.
        folder: where the model's modules lie.
        strategy: by which it is pooled.
        width: values of a token vector.
    """
    name = "token embeddings fp32"
    arguments = {
        "graph": str(graph), "hidden": "last_hidden_state", "width": width, "folder": str(folder),
        "strategy": strategy, **asdict(Cut()),
    }  # fmt: skip
    return System(name, strategy, "fp32", "onnxruntime", "exporter.measure.load_original:load", arguments, name)
