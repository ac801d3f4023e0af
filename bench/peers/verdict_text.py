"""What goals.py found, in words: the verdict of a model, and the table of README.md."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers import markdown
from bench.peers.exports import STRATEGIES
from bench.peers.goals import BEST, Goal, MemoryVerdict, Verdict, comparisons, memory_verdicts, verdicts
from bench.peers.inputs import WORKLOADS
from bench.peers.rates import rate, timing_of
from bench.peers.results import ModelResult, Results
from bench.peers.systems import DTYPES

BEGIN, END = "<!-- what `make bench` measured: begin -->", "<!-- what `make bench` measured: end -->"
_HOW = """The fastest peer's time over ours at equal precision: median of the rounds [quartiles]. `best` is our \
fastest target against the fastest peer of all; the others are held against the peers of their runtime and PyTorch."""


def verdict_section(model: ModelResult) -> list[str]:
    """Paragraphs: how many goals are reached, each goal on each target, and each miss with its size."""
    speed, memory = verdicts(model), memory_verdicts(model)
    targets = [target for target, _, _ in comparisons(model)]
    rows = [
        [goal.workload, goal.strategy, f"{goal.least:.2f}", *(_cell(v) for v in speed if v.goal == goal)]
        for goal in dict.fromkeys(v.goal for v in speed)
    ]
    misses = [_miss(model, v, others) for v, others in _alike([v for v in speed if v.reached is False])]
    misses += [_memory_miss(v) for v in memory if v.reached is False]
    return [
        "### Verdict",
        f"Speed: {_count(speed)}. Memory: {_count(memory)}.",
        _HOW,
        markdown.table(["rows x tokens", "strategy", "goal", *targets], rows),
        *(["Missed:", markdown.bullets(misses)] if misses else []),
    ]


def readme_block(results: Results | None) -> str:
    """What stands between the markers of README.md, markers included: our best against the fastest peer of all."""
    if results is None:
        return f"{BEGIN}\nNothing is kept yet: `make bench` measures it.\n{END}"
    rows = []
    for model in results.models:
        found = {(v.goal.workload, v.goal.strategy, v.target): v for v in verdicts(model)}
        best = {dtype: _best_target(model, dtype) for dtype in DTYPES}
        rows += [
            [model.name, w, *(_short_cell(model, found[w, s, best[dtype]]) for dtype in DTYPES for s in STRATEGIES)]
            for w in WORKLOADS
        ]
    heads = ["model", "rows x tokens", *(f"{s}, {dtype}" for dtype in DTYPES for s in STRATEGIES)]
    return "\n".join([BEGIN, markdown.table(heads, rows), END])


def _count(found: Sequence[Verdict | MemoryVerdict]) -> str:
    states = [v.reached for v in found]
    told = f"{states.count(True)} goals reached, {states.count(False)} missed"
    return f"{told}, {states.count(None)} not measured" if None in states else told


def _cell(verdict: Verdict) -> str:
    if verdict.ratio is None:
        return "not measured"
    return f"{markdown.ratio(verdict.ratio)} {'reached' if verdict.reached else '**missed**'}"


def _alike(missed: Sequence[Verdict]) -> list[tuple[Verdict, list[str]]]:
    """Each distinct miss with its targets: the best target mostly misses as itself, too."""
    found: dict[tuple[Goal, str, str], tuple[Verdict, list[str]]] = {}
    for verdict in missed:
        found.setdefault((verdict.goal, verdict.ours, verdict.peer), (verdict, []))[1].append(verdict.target)
    return list(found.values())


def _miss(model: ModelResult, verdict: Verdict, targets: Sequence[str]) -> str:
    """By how much, and what the two make of the machine."""
    assert verdict.ratio is not None
    goal, median = verdict.goal, verdict.ratio.median
    spread = ", within the spread of the rounds" if verdict.ratio.q3 >= goal.least else ""
    sides = [_side(model, label, goal) for label in (verdict.ours, verdict.peer)]
    return (
        f"{goal.workload}, {goal.strategy}, {' and '.join(targets)}: {median:.3f} where {goal.least:.2f} is wanted, "
        f"{1 - median / goal.least:.1%} short{spread}. {sides[0]}, {sides[1]}."
    )


def _side(model: ModelResult, label: str, goal: Goal) -> str:
    timing = timing_of(model, label, goal.strategy, goal.workload)
    return f"{label} takes {markdown.number(timing.latency_ms.median)} ms at {rate(model, timing)} useful GFLOP/s"


def _memory_miss(verdict: MemoryVerdict) -> str:
    return (
        f"memory: {verdict.smaller} needs {markdown.mib(verdict.smaller_bytes)} MiB; less than the "
        f"{markdown.mib(verdict.larger_bytes)} MiB of {verdict.larger} is wanted."
    )


def _best_target(model: ModelResult, dtype: str) -> str:
    """The comparison that holds our best at a precision: `best`, or the only target that has it."""
    targets = [target for target, _, _ in comparisons(model) if target.endswith(f" {dtype}")]
    return f"{BEST} {dtype}" if f"{BEST} {dtype}" in targets else targets[0]


def _short_cell(model: ModelResult, verdict: Verdict) -> str:
    if verdict.ratio is None:
        return "not measured"
    mine = timing_of(model, verdict.ours, verdict.goal.strategy, verdict.goal.workload)
    return f"{verdict.ratio.median:.2f}x ({markdown.number(mine.latency_ms.median)} ms)"
