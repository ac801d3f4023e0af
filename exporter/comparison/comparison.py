"""A comparison, stage by stage: artifacts with every strategy, their vectors of the data, quality, cost, verdict.

Artifacts, vectors and cost that an earlier run left in the folder are reused if their inputs have not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.breakdown import PartOf, break_down
from exporter.comparison.cost import Cost, system_name
from exporter.comparison.cost_stage import cost_or_reason
from exporter.comparison.embedded import Matrix, embed_task, read_ranges
from exporter.comparison.entries import CompareOptions, Entry, export_command, make_entries
from exporter.comparison.quality import AGREEMENT, CORRELATIONS, DECIDES, Quality, quality
from exporter.comparison.recommendation import Timed, Verdict, decide, keep_trained
from exporter.comparison.resampling import DRAWS, FEWER_DRAWS, Interval, Lead, interval, leads, resample
from exporter.comparison.small_index import SmallIndex, small_indexes
from exporter.comparison.tasks import UNITS, Retrieval, Task, Texts, counted
from exporter.host.console import Console, Stage, count


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    quality: precision -> entry -> metric -> value with its interval; the first precision decides. Of texts without
        labels the trained entry has no agreement: it would be with itself.
    leads: the best entry's over the others on the metric that decides; none where no metric does.
    precision_cost: precision -> entry -> what it costs on that metric, against the first precision.
    parts: the first metric by language, domain and length.
    vectors: entry -> float32 [texts, dim], in the first precision.
    small_indexes: of the recommended entry, what smaller vectors cost; empty where nothing is retrieved.
    cost: None where `no_cost` says why it was not measured.
    next_command: what exports the recommended entry; None where the user has its artifact already.
    """

    task: Task
    entries: tuple[Entry, ...]
    quality: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    leads: tuple[Lead, ...]
    precision_cost: Mapping[str, Mapping[str, Interval]]
    parts: tuple[PartOf, ...]
    vectors: Mapping[str, Matrix]
    small_indexes: tuple[SmallIndex, ...]
    cost: Cost | None
    no_cost: str
    verdict: Verdict
    next_command: str | None

    @property
    def dtype(self) -> str:
        """The precision that decides: the first."""
        return next(iter(self.quality))

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was measured; the metric that decides first, where one does."""
        return max((tuple(metrics) for metrics in self.quality[self.dtype].values()), key=len)

    @property
    def units(self) -> str:
        """How many there are of what was measured: `120 pairs`."""
        return counted(len(self.task.units), UNITS[type(self.task)])

    def entry(self, name: str) -> Entry:
        """The entry of a name."""
        return next(entry for entry in self.entries if entry.name == name)

    def ranked(self, dtype: str) -> list[str]:
        """Entries by the first metric, the best first; one that it says nothing of, before them."""
        intervals, first = self.quality[dtype], self.metrics[0]
        return sorted(
            intervals, key=lambda name: -intervals[name][first].value if first in intervals[name] else -np.inf
        )


def compare(options: CompareOptions, task: Task, console: Console) -> Comparison:
    """Compare the strategies of a model on a task.

    Raises:
        PoolfoldError: bad input, or an export that failed.
    """
    entries = make_entries(options, console, needs_trained=isinstance(task, Texts))
    dtypes = [str(dtype) for dtype in options.dtypes]
    vectors = _embed(options, entries, dtypes, task, console)
    decides = DECIDES.get(type(task))
    trained = next((entry.name for entry in entries if entry.trained), None)
    units, first = len(task.units), dtypes[0]
    with console.stage("quality") as stage:
        reference = vectors[first][trained or entries[0].name]
        measured = {
            dtype: {name: quality(task, rows, reference) for name, rows in by_name.items()}
            for dtype, by_name in vectors.items()
        }
        drawn = {dtype: _drawn(qualities, decides, trained, stage) for dtype, qualities in measured.items()}
        intervals = {
            dtype: {
                name: {m: _interval(m, values[name], units) for m, values in metrics.items() if name in values}
                for name in measured[dtype]
            }
            for dtype, metrics in drawn.items()
        }
        parts = break_down(task, _shown(measured[first], decides, trained), decides or AGREEMENT)
        deciding = {} if decides is None else drawn[first][decides]
        best = max(deciding, key=lambda name: (deciding[name][0], name == trained), default="")
        ahead = leads(deciding, best, units, options.margin, mean=decides not in CORRELATIONS)
        precision = {
            dtype: {n: _interval(decides, values - deciding[n], units) for n, values in metrics[decides].items()}
            for dtype, metrics in drawn.items()
            if dtype != first and decides is not None
        }
        shown = next(iter(drawn[first]))
        stage.outcome = f"{', '.join(drawn[first])} on {counted(units, UNITS[type(task)])}"
    cost, no_cost = (
        (None, "left out (--skip-cost)") if options.skip_cost else cost_or_reason(options, entries, dtypes, console)
    )
    if decides is None:
        agreement = {name: row[shown] for name, row in intervals[first].items() if shown == AGREEMENT and shown in row}
        verdict = keep_trained(str(trained), agreement, options.margin)
    else:
        untrained = [entry.name for entry in entries if not entry.trained]
        timed = _timed(cost, entries, first)
        verdict = decide(
            *(decides, best, ahead, trained, timed),
            untrained=untrained,
            margin=options.margin,
            unit=UNITS[type(task)],
        )
    recommended = next(entry for entry in entries if entry.name == verdict.recommended)
    small: tuple[SmallIndex, ...] = ()
    if isinstance(task, Retrieval):
        with console.stage("index") as stage:
            name = recommended.name
            small = small_indexes(
                task, vectors[first][name], read_ranges(recommended), verdict.metric or "", deciding[name]
            )
            stage.outcome = f"{', '.join(dict.fromkeys(of.precision for of in small))} vectors of {name}"
    return Comparison(
        *(task, entries, intervals, ahead, precision, parts, vectors[first], small, cost, no_cost, verdict),
        export_command(recommended, options),
    )


def _interval(metric: str, values: npt.NDArray[np.float64], units: int) -> Interval:
    return interval(values, units, mean=metric not in CORRELATIONS)


def _timed(cost: Cost | None, entries: Sequence[Entry], dtype: str) -> Timed:
    """What may be said of time: medians of the usual workload that nothing disturbed."""
    if cost is None or cost.usual is None:
        return Timed()
    timings = {entry.name: cost.timing(system_name(entry, dtype)) for entry in entries}
    what = f"{count(cost.usual.batch, 'text')} of {cost.usual.seq_len} tokens"
    return Timed(what, {name: t.latency_ms for name, t in timings.items() if t is not None and not t.disturbed})


def _shown(qualities: Mapping[str, Quality], decides: str | None, trained: str | None) -> dict[str, Quality]:
    """Those of which the first metric says something: not the agreement of the trained strategy with itself."""
    return {name: of for name, of in qualities.items() if decides is not None or name != trained}


def _drawn(
    qualities: Mapping[str, Quality], decides: str | None, trained: str | None, stage: Stage
) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    metrics = list(next(iter(qualities.values())).metrics)
    drawn = {}
    for done, metric in enumerate(metrics):
        stage.progress(done, len(metrics), f"intervals of {metric}")
        of = _shown(qualities, decides, trained) if metric == AGREEMENT else qualities
        if of:
            drawn[metric] = resample(of, metric, count=DRAWS if metric == decides else FEWER_DRAWS)
    return drawn


def _embed(
    options: CompareOptions, entries: Sequence[Entry], dtypes: Sequence[str], task: Task, console: Console
) -> dict[str, dict[str, Matrix]]:
    """Precision -> entry -> vectors; an entry without a graph in a precision has none there."""
    vectors_by_dtype: dict[str, dict[str, Matrix]] = {}
    with console.stage("embed") as stage:
        computed = total = 0
        for dtype in dtypes:
            for entry in entries:
                if entry.manifest.graph(entry.strategy, dtype) is None:
                    stage.warn(f"{entry.name} has no graph in {dtype}, and is not in that part of the table.")
                    continue

                def progress(done: int, texts: int, what: str = f"{entry.name} {dtype}") -> None:
                    stage.progress(done, texts, what)

                vectors, now = embed_task(
                    entry, dtype, task, options.folder / "vectors", threads=options.threads, progress=progress
                )
                vectors_by_dtype.setdefault(dtype, {})[entry.name] = vectors
                computed, total = computed + now, total + 1
        texts = sum(len(part.texts) for part in task.parts)
        of = f"{count(texts, 'text')} by {count(total, 'graph')}"
        stage.outcome = f"{of}: {computed} computed, {total - computed} kept from before"
    return vectors_by_dtype
