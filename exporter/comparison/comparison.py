"""A comparison, stage by stage: artifacts with every strategy, their vectors of the data, quality, cost, verdict.

Artifacts, vectors and cost that an earlier run left in the folder are reused if their inputs have not changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.comparison.breakdown import PartOf, break_down
from exporter.comparison.cost import Cost, measure_cost, system_name, token_embeddings_system
from exporter.comparison.embedded import Matrix, embed_task
from exporter.comparison.entries import CompareOptions, Entry, make_entries
from exporter.comparison.quality import DECIDES, Quality, quality
from exporter.comparison.recommendation import Verdict, decide
from exporter.comparison.resampling import DRAWS, FEWER_DRAWS, Interval, Lead, interval, leads, resample
from exporter.comparison.tasks import UNITS, Task, Texts
from exporter.comparison.token_embeddings import FILE
from exporter.host.child_process import OwnProcess
from exporter.host.console import Console, Stage
from exporter.measure.systems import System, baseline_system
from exporter.model.of_artifact import find_baseline
from exporter.spec.origin import ONNX_FILE
from graphs.pooling.head import Cut
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import InputError
from poolfold.sessions.user_cache import write_whole

_SCRATCH = ".token_embeddings_"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    quality: precision -> entry -> metric -> value with its interval; the first precision decides.
    leads: the best entry's over the others on the metric that decides.
    precision_cost: precision -> entry -> what it costs on that metric, against the first precision.
    parts: that metric by language, domain and length.
    vectors: entry -> float32 [texts, dim], in the first precision.
    cost: None where it was skipped.
    """

    task: Task
    entries: tuple[Entry, ...]
    quality: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    leads: tuple[Lead, ...]
    precision_cost: Mapping[str, Mapping[str, Interval]]
    parts: tuple[PartOf, ...]
    vectors: Mapping[str, Matrix]
    cost: Cost | None
    verdict: Verdict

    @property
    def dtype(self) -> str:
        """The precision that decides: the first."""
        return next(iter(self.quality))

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was measured, the metric that decides first."""
        return tuple(next(iter(self.quality[self.dtype].values())))

    def entry(self, name: str) -> Entry:
        """The entry of a name."""
        return next(entry for entry in self.entries if entry.name == name)

    def ranked(self, dtype: str) -> list[str]:
        """Entries by the metric that decides, the best first."""
        intervals = self.quality[dtype]
        return sorted(intervals, key=lambda name: -intervals[name][self.verdict.metric].value)


def compare(options: CompareOptions, task: Task, console: Console) -> Comparison:
    """Compare the strategies of a model on a task.

    Raises:
        PoolfoldError: bad input, or an export that failed.
    """
    entries = make_entries(options, console, needs_trained=isinstance(task, Texts))
    dtypes = [str(dtype) for dtype in options.dtypes]
    vectors = _embed(options, entries, dtypes, task, console)
    decides = DECIDES[type(task)]
    trained = next((entry.name for entry in entries if entry.trained), None)
    with console.stage("quality") as stage:
        first = dtypes[0]
        reference = vectors[first][trained or entries[0].name]
        measured = {
            dtype: {name: quality(task, rows, reference) for name, rows in by_name.items()}
            for dtype, by_name in vectors.items()
        }
        drawn = {dtype: _drawn(qualities, decides, stage) for dtype, qualities in measured.items()}
        intervals = {
            dtype: {name: {m: interval(values[name]) for m, values in metrics.items()} for name in measured[dtype]}
            for dtype, metrics in drawn.items()
        }
        deciding = drawn[first][decides]
        best = max(deciding, key=lambda name: (deciding[name][0], name == trained))
        ahead = leads(deciding, best, [name for name in deciding if name != best])
        precision = {
            dtype: {name: interval(values - deciding[name]) for name, values in metrics[decides].items()}
            for dtype, metrics in drawn.items()
            if dtype != first
        }
        parts = break_down(task, measured[first], decides)
        stage.outcome = f"{', '.join(drawn[first])} on {len(task.units)} {UNITS[type(task)]}"
    cost = None if options.skip_cost else _cost(options, entries, dtypes, console)
    times = {} if cost is None else {e.name: cost.milliseconds(system_name(e, first)) for e in entries}
    milliseconds = {name: time for name, time in times.items() if time is not None}
    values = {name: metrics[decides] for name, metrics in intervals[first].items()}
    verdict = decide(
        decides,
        values,
        ahead,
        trained,
        milliseconds,
        untrained=[entry.name for entry in entries if not entry.trained],
        labelled=not isinstance(task, Texts),
    )
    return Comparison(task, entries, intervals, ahead, precision, parts, vectors[first], cost, verdict)


def _drawn(
    qualities: Mapping[str, Quality], decides: str, stage: Stage
) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    metrics = list(next(iter(qualities.values())).metrics)
    drawn = {}
    for done, metric in enumerate(metrics):
        stage.progress(done, len(metrics), f"intervals of {metric}")
        drawn[metric] = resample(qualities, metric, count=DRAWS if metric == decides else FEWER_DRAWS)
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
        stage.outcome = f"{texts} texts by {total} graphs: {computed} computed, {total - computed} kept from before"
    return vectors_by_dtype


def _cost(options: CompareOptions, entries: Sequence[Entry], dtypes: Sequence[str], console: Console) -> Cost:
    """Measure, or take what an earlier run measured of the very same files on as many threads."""
    sums = [(e.name, file.path, file.sha256) for e in entries for file in e.manifest.files]
    key = hashlib.sha256(json.dumps([sums, dtypes, options.threads, options.seconds]).encode()).hexdigest()
    kept = options.folder / f"cost_{key[:24]}.json"
    with console.stage("cost") as stage:
        if kept.is_file():
            try:
                cost = msgspec.json.decode(kept.read_bytes(), type=Cost)
            except msgspec.DecodeError:
                pass  # cut off: measured anew
            else:
                stage.outcome = "kept from before: the same graphs, threads and time"
                return cost
        stage.progress(0, 1, "the model without poolfold")
        for left in options.folder.glob(f"{_SCRATCH}*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=options.folder, prefix=_SCRATCH) as scratch:
            beside = _beside(options, entries[0], Path(scratch), stage)
            cost = measure_cost(
                entries, dtypes, beside, threads=options.threads, budget_s=options.seconds, progress=stage.progress
            )
        write_whole(kept, lambda file: file.write(msgspec.json.encode(asdict(cost))))
        systems, shapes = len(cost.latency.systems), len(cost.latency.workloads)
        stage.outcome = f"{systems} systems on {shapes} workloads, interleaved, {cost.latency.threads} threads"
    return cost


def _beside(options: CompareOptions, first: Entry, scratch: Path, stage: Stage) -> list[System]:
    """The first model without poolfold: as it is, and as a graph that ends in token embeddings."""
    try:
        there = first.model if Path(first.model).exists() else None
        spec = find_baseline(first.manifest, there, options.trust).spec
    except InputError as error:
        stage.warn(f"what the model costs without poolfold is not measured: {error}")
        return []
    model = first.manifest.model
    cut = Cut(model.dimensions, model.renormalized)
    baseline = baseline_system(spec, parse_strategy(first.strategy), cut)
    # One stands for all strategies: behind a transformer, which one is pooled by makes no difference to time.
    baseline = replace(baseline, name=f"{baseline.runtime} {baseline.dtype}")
    if spec.source.origin is ONNX_FILE:
        return [baseline]
    with OwnProcess(
        "exporter.comparison.token_embeddings:write",
        *(spec.source.name, spec.source.revision, options.trust, scratch),
    ) as writing:
        writing.result()
    return [baseline, token_embeddings_system(scratch / FILE, spec.source.folder, first.strategy, spec.hidden_size)]
