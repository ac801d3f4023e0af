"""Results as a document, bench/results/gpu.md, and the verdict in words. Says only what follows from the results."""

from __future__ import annotations

from collections.abc import Callable

from bench.gpu.batches import WORKLOADS
from bench.gpu.goals import Verdict, parity_passes, verdicts
from bench.gpu.results import ModelResult, Results, SystemResult
from bench.peers import markdown

_GIB = 1 << 30
_TRIAL = "**This is a trial of the bench on a processor. It says nothing of a GPU.**"
_HALF = "**The run was ended before it was complete; what follows is what it had measured.**"


def document(results: Results) -> str:
    """The whole report."""
    parts = ["# poolfold on a GPU"]
    parts += [_TRIAL] if results.device == "cpu" else []
    parts += [] if results.complete else [_HALF]
    parts += [
        f"`{results.command}` wrote this and gpu.json, with every round. Method: [bench/README.md](../README.md).",
        markdown.bullets(_environment(results)),
        "Does tensorrt-rtx load and run our engine on this card?",
        markdown.bullets(f"{model.name}: {model.tensorrt_rtx}" for model in results.models),
    ]
    if results.unmeasured:
        parts += ["Not measured:", markdown.bullets(f"{name}: {reason}" for name, reason in results.unmeasured.items())]
    for model in results.models:
        parts += [f"## {model.name}", *_model(model)]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict_lines(model: ModelResult) -> list[str]:
    """Each goal on one line: reached or missed, and by how much."""
    return [f"{_subject(v)}: {_outcome(v)}" for v in verdicts(model)]


def _environment(results: Results) -> list[str]:
    card, machine = results.card, results.environment
    versions = ", ".join(f"{distribution} {version}" for distribution, version in machine.versions.items())
    lines = [f"{machine.cpu}, {machine.cores} cores, {machine.platform}", f"Python {machine.python}, {versions}"]
    lines.append(
        f"{results.threads} threads in every system. Other programs kept {results.busy:.0%} of them busy before."
    )
    if results.device == "cpu":
        return lines
    memory = f"{card.memory_bytes / _GIB:.0f} GiB"
    return [
        f"{card.name}, compute capability {card.capability}, {memory}; torch for CUDA {card.cuda}; {card.driver}",
        *lines,
    ]


def _model(model: ModelResult) -> list[str]:
    missing = [f"{name}: {reason}" for name, reason in model.missing.items()]
    rate = model.rates
    conditions = (
        f"{model.size.layers} layers of {model.size.hidden}. Artifact: `{model.artifact}`. In this run a large "
        f"{rate.dtype} product gave {rate.flops / 1e12:.3g} TFLOP/s and a large copy {rate.bytes / 1e9:.4g} GB/s."
    )
    parts = [
        conditions,
        *(["Not measured:", markdown.bullets(missing)] if missing else []),
        *([f"The windows failed: {model.failed}"] if model.failed else []),
        "### Verdict",
        markdown.bullets(verdict_lines(model)),
        "### Parity with PyTorch fp32, and memory",
        _parity(model),
        "### Milliseconds of single calls, alone, copies included: p50, p99 (calls)",
        _matrix(model, _single),
    ]
    if not model.timings:
        return parts
    return [
        *parts,
        "### Milliseconds, in turns, copies included: median [quartiles]",
        _matrix(model, _latency),
        "### Texts a second; real tokens a second",
        _matrix(model, _throughput),
        "### Share of the product's rate; share of the copy's",
        _matrix(model, _shares),
    ]


def _subject(verdict: Verdict) -> str:
    ours = verdict.ours if verdict.fastest in ("", verdict.ours) else f"{verdict.ours} ({verdict.fastest})"
    goal = verdict.goal
    return f"{goal.what}, {goal.workload}, {verdict.strategy}, {ours} over {goal.peer}, at least {goal.least:g} x"


def _outcome(verdict: Verdict) -> str:
    if verdict.ratio is None or verdict.margin is None:
        return f"not measured: {verdict.missing}"
    how = "reached" if verdict.reached else "**missed**"
    return (
        f"{how} at {markdown.ratio(verdict.ratio)}, {abs(verdict.margin):.1%} {'above' if verdict.reached else 'short'}"
    )


def _parity(model: ModelResult) -> str:
    rows = [
        [
            s.name,
            f"{s.smallest_cosine:.7f}{'' if parity_passes(s) else ' **fails**'}",
            markdown.mib(s.peak_bytes),
        ]
        for s in model.systems
    ]
    return markdown.table(["system", "smallest row cosine", "peak above the start, MiB"], rows)


def _matrix(model: ModelResult, cell: Callable[[ModelResult, SystemResult, str], str]) -> str:
    rows = [[s.name, *(cell(model, s, workload) for workload in WORKLOADS)] for s in model.systems]
    return markdown.table(["system", *WORKLOADS], rows)


def _single(model: ModelResult, system: SystemResult, workload: str) -> str:
    calls = next((c for c in model.calls if (c.system, c.workload) == (system.name, workload)), None)
    if calls is None:
        return "not measured"
    return f"{markdown.number(calls.p50_ms)}, {markdown.number(calls.p99_ms)} ({calls.calls})"


def _latency(model: ModelResult, system: SystemResult, workload: str) -> str:
    timing = next((t for t in model.timings if (t.system, t.workload) == (system.name, workload)), None)
    return "not measured" if timing is None else markdown.milliseconds(timing.latency_ms)


def _throughput(model: ModelResult, system: SystemResult, workload: str) -> str:
    timing = next((t for t in model.timings if (t.system, t.workload) == (system.name, workload)), None)
    if timing is None:
        return "not measured"
    return f"{markdown.number(timing.texts_per_s)}; {markdown.number(timing.real_tokens_per_s)}"


def _shares(model: ModelResult, system: SystemResult, workload: str) -> str:
    """Useful operations and least bytes a second, as shares of the card's own rates; see `work` and `traffic`."""
    timing = next((t for t in model.timings if (t.system, t.workload) == (system.name, workload)), None)
    if timing is None:
        return "not measured"
    shape, seconds = next(w for w in model.workloads if w.name == workload), timing.latency_ms.median / 1e3
    product = shape.useful_flops[system.strategy] / seconds / model.rates.flops
    copy = shape.least_bytes[system.dtype] / seconds / model.rates.bytes
    return f"{product:.1%}; {copy:.1%}"
