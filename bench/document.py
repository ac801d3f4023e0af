"""Results as a document, bench/results/peers.md and gpu.md. Says only what follows from the results."""

from collections.abc import Callable, Mapping, Sequence

from bench import markdown
from bench.batches import FULL
from bench.goals import Goal, MemoryVerdict, Verdict, memory_verdicts, parity_passes, verdicts
from bench.markdown import milliseconds
from bench.results import ModelResult, Results, SystemResult, TimingResult
from bench.systems import STRATEGIES, name

_GIB = 1 << 30
_MS, _GIGA = 1e3, 1e9
_TRIAL = "**This is a trial of the bench on a processor. It says nothing of a GPU.**"
_HALF = "**The run was ended before it was complete; what follows is what it had measured.**"
_HOW = (
    "The fastest peer's time over ours at equal precision: median of the rounds [quartiles]. `best` is our fastest "
    "target; bench/README.md tells who is held against whom."
)

Cell = Callable[[SystemResult, str], str]
"""A system and a workload's name -> what its cell says."""


def document(results: Results, workloads: Sequence[str]) -> str:
    """The whole report; the workloads are the columns of its tables."""
    title, file = ("on a GPU", "gpu.json") if results.device else ("against its peers", "peers.json")
    how = "How it measures and how to read it: [bench/README.md](../README.md)."
    parts = [
        f"# poolfold {title}",
        *([_TRIAL] if results.device == "cpu" else []),
        *([] if results.complete else [_HALF]),
        f"`{results.command}` wrote this and {file}, which holds every round. {how}",
        markdown.bullets(_environment(results)),
    ]
    if results.device and results.models:
        answers = [f"{model.name}: {model.tensorrt_rtx}" for model in results.models]
        parts += ["Does tensorrt-rtx load and run our engine on this card?", markdown.bullets(answers)]
    parts += _named("Not measured:", results.unmeasured)
    for model in results.models:
        parts += [f"## {model.name}", *_conditions(model, workloads), *verdict_section(model)]
        if model.rates:
            fails = {True: "", False: " **fails**"}
            rows = [[s.name, f"{s.smallest_cosine:.7f}{fails[parity_passes(s)]}"] for s in model.systems]
            parts += ["### Parity with PyTorch fp32", markdown.table(["system", "smallest row cosine"], rows)]
        parts += _speed(model, workloads) if model.timings else []
        if model.memory:
            rows = [[m.label, m.strategy or "either", m.workload, markdown.mib(m.increase_bytes)] for m in model.memory]
            heads = ["system", "strategy", "rows x tokens", "peak above the start, MiB"]
            parts += ["### Memory", markdown.table(heads, rows)]
        if model.encode:
            rows = [[e.label, e.strategy, milliseconds(e.latency_ms), markdown.ratio(e.speedup)] for e in model.encode]
            heads = ["`encode` of 32 texts", "strategy", "ms", "x over sentence-transformers"]
            parts += ["### Texts to vectors, tokenising included", markdown.table(heads, rows)]
    return "\n\n".join(parts) + "\n"


def verdict_section(model: ModelResult) -> list[str]:
    """Paragraphs: how many goals are reached, each goal on each target, and each miss with its size."""
    speed, memory = verdicts(model), memory_verdicts(model)
    targets = list(dict.fromkeys(v.target for v in speed))
    judged = {(v.goal, v.target): v for v in speed}
    rows = [
        [goal.workload, goal.strategy, f"{goal.least:.2f}", *(_cell(judged.get((goal, target))) for target in targets)]
        for goal in dict.fromkeys(v.goal for v in speed)
    ]
    misses = [_miss(model, v, others) for v, others in _alike([v for v in speed if v.reached is False])]
    misses += [_memory_miss(v) for v in memory if v.reached is False]
    unmeasured = {f"{v.goal.workload}, {v.goal.strategy}, {v.target}": v.missing for v in speed if v.ratio is None}
    return [
        "### Verdict",
        f"Speed: {_count(speed)}." + (f" Memory: {_count(memory)}." if memory else ""),
        _HOW,
        markdown.table(["rows x tokens", "strategy", "goal", *targets], rows),
        *(["Missed:", markdown.bullets(misses)] if misses else []),
        *_named("Not judged:", unmeasured),
    ]


def useful_gflops(model: ModelResult, timing: TimingResult, strategy: str) -> float:
    """10^9 useful operations a second of a system on a workload, at its median."""
    return model.workload(timing.workload).useful_flops[strategy] / timing.latency_ms.median * _MS / _GIGA


def product_gflops(model: ModelResult, dtype: str) -> float | None:
    """10^9 operations a second of a bare matrix product: the GPU's, or on the full batch in the fastest runtime.

    None where nothing multiplied at this precision.
    """
    if model.rates:
        return model.rates["flops"] / _GIGA if model.rates["dtype"] == dtype else None
    products = [s.name for s in model.systems if s.side == "product" and s.dtype == dtype]
    medians = [t.latency_ms.median for p in products if (t := model.timing(p, FULL)) is not None]
    return model.workload(FULL).product_flops / min(medians) * _MS / _GIGA if medians else None


def rate(model: ModelResult, system: SystemResult, timing: TimingResult) -> str:
    """Useful GFLOP/s, and in brackets their share of the bare product's at the same precision."""
    useful, product = useful_gflops(model, timing, system.strategy), product_gflops(model, system.dtype)
    return f"{useful:.3g}" if product is None else f"{useful:.3g} ({useful / product:.0%})"


def _environment(results: Results) -> list[str]:
    machine, card = results.environment, results.card
    versions, peers = (
        ", ".join(f"{distribution} {version}" for distribution, version in those.items())
        for those in (machine["versions"], results.peer_versions)
    )
    memory = f"{machine['memory_bytes'] / _GIB:.0f} GiB"
    busy = f"Other programs kept {results.busy:.0%} of the processors busy before it began."
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {memory}, {machine['platform']}",
        f"{results.threads} threads in every system. {busy}",
        f"Python {machine['python']}, {versions}",
    ]
    if card.get("memory_bytes"):
        memory = f"{card['memory_bytes'] / _GIB:.0f} GiB"
        capability = (
            f"compute capability {card['capability']}, {memory}; torch for CUDA {card['cuda']}; {card['driver']}"
        )
        lines.insert(0, f"{card['name']}, {capability}")
    return [*lines, f"The peers' exports: {peers}"] if peers else lines


def _conditions(model: ModelResult, workloads: Sequence[str]) -> list[str]:
    size = model.size
    loads = " and ".join("unknown" if load is None else f"{load:.2f}" for load in model.load_averages)
    shape = f"{size.layers} layers, hidden {size.hidden}, intermediate {size.intermediate}"
    took = f"{model.seconds:.0f} s, load average before and after {loads}"
    heads = ["rows x tokens", "batches", "real tokens", "of all", "rounds"]
    rows = [
        [w.name, w.batches, w.real_tokens, f"{w.real_tokens / w.tokens:.0%}", w.rounds]
        for w in map(model.workload, workloads)
    ]
    parts = [f"{shape}; {took}. Our artifact: `{model.export}`"]
    parts += [markdown.table(heads, rows), *_named("Not measured:", model.missing)]
    return [*parts, f"The windows failed: {model.failed}"] if model.failed else parts


def _speed(model: ModelResult, workloads: Sequence[str]) -> list[str]:
    strategies = [strategy for strategy in STRATEGIES if any(s.strategy == strategy for s in model.systems)]

    def matrix(strategy: str, say: Callable[[SystemResult, TimingResult], str]) -> str:
        def cell(system: SystemResult, workload: str) -> str:
            timing = model.timing(system.name, workload)
            return "not measured" if timing is None else say(system, timing)

        return _matrix([s for s in model.systems if s.strategy == strategy], workloads, cell)

    parts = []
    for strategy in strategies:
        latencies = matrix(strategy, lambda _, timing: milliseconds(timing.latency_ms))
        parts += [f"### Milliseconds, {strategy}", latencies]
    dtypes = dict.fromkeys(s.dtype for s in model.systems)
    rates = {dtype: product for dtype in dtypes if (product := product_gflops(model, dtype)) is not None}
    told = ", ".join(f"{value:.0f} GFLOP/s in {dtype}" for dtype, value in rates.items())
    where = f" on {FULL}, in the runtime that is fastest at it" if not model.rates else ""
    parts += ["### Useful GFLOP/s", f"And their share of a bare matrix product's{where}: {told}."]
    for strategy in strategies:
        parts += [f"{strategy}:", matrix(strategy, lambda system, timing: rate(model, system, timing))]
    if model.rates:
        parts.append("### Texts a second; milliseconds of nine calls in ten")
        parts += [matrix(strategy, lambda _, timing: _on_gpu(model, timing)) for strategy in strategies]
    return parts


def _on_gpu(model: ModelResult, timing: TimingResult) -> str:
    texts_per_s = model.workload(timing.workload).rows / timing.latency_ms.median * _MS
    return f"{markdown.number(texts_per_s)}; {markdown.number(timing.p90_ms or 0.0)}"


def _matrix(systems: Sequence[SystemResult], workloads: Sequence[str], cell: Cell) -> str:
    """A row for each system, a column for each workload."""
    rows = [[s.label, *(cell(s, w) for w in workloads)] for s in systems]
    return markdown.table(["system", *workloads], rows)


def _named(opening: str, reasons: Mapping[str, str]) -> list[str]:
    """A list of names with their reasons under its opening; nothing where there is none."""
    return [opening, markdown.bullets(f"{label}: {reason}" for label, reason in reasons.items())] if reasons else []


def _count(judged: Sequence[Verdict | MemoryVerdict]) -> str:
    states = [v.reached for v in judged]
    told = f"{states.count(True)} goals reached, {states.count(False)} missed"
    return f"{told}, {states.count(None)} not measured" if None in states else told


def _cell(verdict: Verdict | None) -> str:
    if verdict is None or verdict.ratio is None:
        return "not measured"
    return f"{markdown.ratio(verdict.ratio)} {'reached' if verdict.reached else '**missed**'}"


def _alike(missed: Sequence[Verdict]) -> list[tuple[Verdict, list[str]]]:
    """Each distinct miss with its targets: the best target mostly misses as itself, too."""
    distinct: dict[tuple[Goal, str, str], tuple[Verdict, list[str]]] = {}
    for verdict in missed:
        distinct.setdefault((verdict.goal, verdict.ours, verdict.peer), (verdict, []))[1].append(verdict.target)
    return list(distinct.values())


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
    system = next(s for s in model.systems if s.name == name(label, goal.strategy))
    timing = model.timing(system.name, goal.workload)
    assert timing is not None
    return (
        f"{label} takes {markdown.number(timing.latency_ms.median)} ms at {rate(model, system, timing)} useful GFLOP/s"
    )


def _memory_miss(verdict: MemoryVerdict) -> str:
    return (
        f"memory: {verdict.smaller} needs {markdown.mib(verdict.smaller_bytes)} MiB; less than the "
        f"{markdown.mib(verdict.larger_bytes)} MiB of {verdict.larger} is wanted."
    )
