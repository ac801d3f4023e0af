"""Results as a document, bench/results/peers.md. Says only what follows from the results."""

from __future__ import annotations

from collections.abc import Callable

from bench.peers import markdown
from bench.peers.exports import STRATEGIES
from bench.peers.inputs import FULL, WORKLOADS
from bench.peers.rates import product_gflops, rate, timing_of
from bench.peers.results import ModelResult, Results, TimingResult
from bench.peers.systems import DTYPES
from bench.peers.verdict_text import verdict_section

_GIB = 1 << 30


def document(results: Results) -> str:
    """The whole report."""
    opening = (
        f"`{results.command}` wrote this and peers.json, which holds every round. How it measures and how to read it: "
        "[bench/README.md](../README.md)."
    )
    parts = ["# poolfold against its peers", opening, _environment(results)]
    for model in results.models:
        parts += [f"## {model.name}", *_conditions(model), *verdict_section(model)]
        for strategy in STRATEGIES:
            parts += [f"### Milliseconds, {strategy}", _matrix(model, strategy, _latency)]
        parts += ["### Useful GFLOP/s", _product(model)]
        for strategy in STRATEGIES:
            parts += [f"{strategy}:", _matrix(model, strategy, rate)]
        parts += ["### Memory", _memory(model)]
        parts += ["### Texts to vectors, tokenising included", _encode(model)] if model.encode else []
    return "\n\n".join(parts) + "\n"


def _environment(results: Results) -> str:
    machine = results.environment
    versions = ", ".join(f"{distribution} {version}" for distribution, version in machine.versions.items())
    peers = ", ".join(f"{distribution} {version}" for distribution, version in results.peer_versions.items())
    memory = f"{machine.memory_bytes / _GIB:.0f} GiB"
    busy = f"Other programs kept {results.busy:.0%} of the processors busy before it began."
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {memory}, {machine.platform}",
        f"{results.threads} threads in every system. {busy}",
        f"Python {machine.python}, {versions}",
    ]
    return markdown.bullets([*lines, f"The peers' exports: {peers}"] if peers else lines)


def _conditions(model: ModelResult) -> list[str]:
    size, found = model.size, {w.name: w for w in model.workloads}
    loads = " and ".join("unknown" if load is None else f"{load:.2f}" for load in model.load_averages)
    shape = f"{size.layers} layers, hidden {size.hidden}, intermediate {size.intermediate}"
    parts = [
        f"{shape}; {model.seconds:.0f} s, load average before and after {loads}. Our artifact: `{model.export}`",
        markdown.table(
            ["rows x tokens", "batches", "real tokens", "of all", "rounds"],
            [
                [w.name, w.batches, w.real_tokens, f"{w.real_tokens / w.tokens:.0%}", w.rounds]
                for w in (found[workload] for workload in WORKLOADS)
            ],
        ),
    ]
    missing = [f"{label}: {reason}" for label, reason in model.missing.items()]
    return [*parts, "Not measured:", markdown.bullets(missing)] if missing else parts


def _product(model: ModelResult) -> str:
    rates = {dtype: product_gflops(model, dtype) for dtype in DTYPES}
    told = ", ".join(f"{value:.0f} GFLOP/s in {dtype}" for dtype, value in rates.items() if value is not None)
    return f"And their share of a bare matrix product's on {FULL}, in the runtime that is fastest at it: {told}."


def _memory(model: ModelResult) -> str:
    rows = [[m.label, m.strategy or "either", m.workload, markdown.mib(m.increase_bytes)] for m in model.memory]
    return markdown.table(["system", "strategy", "rows x tokens", "peak above imports, MiB"], rows)


def _encode(model: ModelResult) -> str:
    rows = [[e.label, e.strategy, markdown.milliseconds(e.latency_ms), markdown.ratio(e.speedup)] for e in model.encode]
    return markdown.table(["`encode` of 32 texts", "strategy", "ms", "x over sentence-transformers"], rows)


def _matrix(model: ModelResult, strategy: str, cell: Callable[[ModelResult, TimingResult], str]) -> str:
    """A row for each system of a strategy, a column for each workload."""
    rows = [
        [s.label, *(cell(model, timing_of(model, s.label, strategy, w)) for w in WORKLOADS)]
        for s in model.systems
        if s.strategy == strategy
    ]
    return markdown.table(["system", *WORKLOADS], rows)


def _latency(model: ModelResult, timing: TimingResult) -> str:
    return markdown.milliseconds(timing.latency_ms)
