"""The document of a run on a processor, and the table of README.md."""

from __future__ import annotations

from bench import markdown
from bench.batches import ON_PROCESSOR
from bench.document import document
from bench.goals import BEST, Verdict
from bench.peers.goals import comparisons, memory_verdicts, verdicts
from bench.peers.systems import DTYPES
from bench.results import ModelResult, Results
from bench.systems import name
from bench.turns import STRATEGIES

BEGIN, END = "<!-- what `make bench` measured: begin -->", "<!-- what `make bench` measured: end -->"


def report(results: Results) -> str:
    """bench/results/peers.md."""
    judged = lambda model: (verdicts(model), memory_verdicts(model))  # noqa: E731
    return document(results, "poolfold against its peers", ON_PROCESSOR, judged)


def readme_table(results: Results) -> str:
    """What stands between the markers of README.md: our best against the fastest peer of all."""
    rows = []
    for model in results.models:
        found = {(v.goal.workload, v.goal.strategy, v.target): v for v in verdicts(model)}
        best = {dtype: _best_target(model, dtype) for dtype in DTYPES}
        rows += [
            [model.name, w, *(_cell(model, found[w, s, best[dtype]]) for dtype in DTYPES for s in STRATEGIES)]
            for w in ON_PROCESSOR
        ]
    heads = ["model", "rows x tokens", *(f"{s}, {dtype}" for dtype in DTYPES for s in STRATEGIES)]
    return markdown.table(heads, rows)


def _best_target(model: ModelResult, dtype: str) -> str:
    """The comparison that holds our best at a precision: `best`, or the only target that has it."""
    targets = [target for target, _, _ in comparisons(model) if target.endswith(f" {dtype}")]
    return f"{BEST} {dtype}" if f"{BEST} {dtype}" in targets else targets[0]


def _cell(model: ModelResult, verdict: Verdict) -> str:
    timing = model.timing(name(verdict.ours, verdict.goal.strategy), verdict.goal.workload)
    if verdict.ratio is None or timing is None:
        return "not measured"
    return f"{verdict.ratio.median:.2f}x ({markdown.number(timing.latency_ms.median)} ms)"
