"""The measuring stages of an export: padding, then latency, in the seconds that the user gave.

The artifact has passed every check by then. So a stage that fails, or finds no time, loses nothing but its numbers, and
the manifest says why they are missing (`latency_left_out`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from exporter.artifact.draft import Draft
from exporter.artifact.layout import write_report
from exporter.host.console import Console, Stage, count
from exporter.measure.artifact_latency import as_rows, measure_artifact, warn_if_disturbed
from exporter.measure.padding_benefit import measure_benefit, no_profit
from exporter.measure.process import WITHOUT, in_words
from exporter.parity.tokens import Tokens
from exporter.pipeline.plan import Capture
from exporter.spec.options import LATENCY, PADDING, ExportOptions

_PADDING_SHARE = 1 / 3
"""Of the time, at most: the latency stage runs what this stage finds, so it comes second."""

_FOLDERS = re.compile(r"(?<![\w:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])+")
_LONGEST = 300


def measure(draft: Draft, options: ExportOptions, captured: Capture, console: Console) -> Draft:
    """The draft with what was measured within `bench_seconds`, and why the rest was not. Calls begun are finished."""
    if options.skip_latency:
        stages = [LATENCY, *([PADDING] if _has_two_forms(draft, options) else [])]
        return _without(draft, dict.fromkeys(stages, "--skip-latency was given"))
    start = time.monotonic()
    until = start + options.bench_seconds
    draft = measure_padding(draft, options, captured, console, start + _PADDING_SHARE * options.bench_seconds)
    return measure_latency(draft, options, captured, console, until)


def measure_padding(draft: Draft, options: ExportOptions, captured: Capture, console: Console, until: float) -> Draft:
    """How much padding makes the padding-free form the faster one."""
    if not _has_two_forms(draft, options):
        return draft
    draft, manifest = draft.seal()
    with console.stage(PADDING) as stage:
        reason = no_profit(lengths_of(options.texts, captured.plan.tokens))
        if reason is not None:
            stage.outcome = f"left out: {reason}"
            return _without(draft, {PADDING: reason})
        with _surviving(stage) as failed:
            benefit = measure_benefit(
                draft.directory,
                manifest,
                targets=options.targets,
                threads=options.threads,
                until=until,
                progress=stage.progress,
            )
        if failed:
            return _without(draft, {PADDING: failed[0]})
        measured = [
            f"{g.strategy} {g.dtype} {target} below {share:.0%}"
            for g in benefit.graphs
            if g.padding_free is not None
            for target, share in g.padding_free.faster_below.items()
        ]
        left_out = _by_reason(_with_option(benefit.left_out, options))
        found = f"real tokens at which the padding-free form is faster: {', '.join(measured)}" if measured else ""
        missing = f"left out: {left_out}" if left_out else ""
        stage.outcome = "; ".join(part for part in (found, missing) if part) or "no target here runs both forms"
    draft = replace(draft, graphs=benefit.graphs)
    return _without(draft, {PADDING: left_out}) if left_out else draft


def measure_latency(draft: Draft, options: ExportOptions, captured: Capture, console: Console, until: float) -> Draft:
    """Latency and memory of all that runs here, beside the model's own."""
    # Measured as it will be loaded, so described as it now is.
    draft, manifest = draft.seal()
    with console.stage(LATENCY) as stage:
        with _surviving(stage) as failed:
            report = measure_artifact(
                draft.directory,
                manifest,
                captured.plan.spec,
                budget_s=until - time.monotonic(),
                until=until,
                threads=options.threads,
                progress=stage.progress,
            )
        if failed:
            over = time.monotonic() > until
            return _without(
                draft, {LATENCY: f"{failed[0]} (--bench-seconds {options.bench_seconds})" if over else failed[0]}
            )
        warn_if_disturbed(report, stage.warn)
        write_report(draft.directory, LATENCY, report)
        stage.outcome = (
            f"{count(len(report.systems), 'system')} on {count(len(report.workloads), 'workload')}, "
            f"{count(report.threads, 'thread')}, interleaved"
        )
        left_out = _with_option(report.left_out, options)
        stage.outcome += "".join(f"; {name} left out: {why}" for name, why in left_out.items())
    return _without(replace(draft, latency=as_rows(report)), left_out)


def _has_two_forms(draft: Draft, options: ExportOptions) -> bool:
    """Whether any target that was asked for takes now one form of a graph, now the other."""
    by_padding = [graph.padding_free for graph in draft.graphs if graph.padding_free and not graph.prompted]
    return any(set(options.targets) - set(free.serves_all) for free in by_padding)


def lengths_of(texts: tuple[str, ...], tokens: Tokens) -> list[int]:
    """Tokens of each of the user's own texts, which were read together with poolfold's corpus."""
    own = set(texts)
    return [len(row) for text, row in zip(tokens.texts, tokens.rows, strict=True) if text in own]


def _without(draft: Draft, reasons: Mapping[str, str]) -> Draft:
    return replace(draft, latency_left_out={**draft.latency_left_out, **reasons})


@contextmanager
def _surviving(stage: Stage) -> Iterator[list[str]]:
    """A block whose failure is a warning, and its reason in the list: on one line, without folders of this machine."""
    failed: list[str] = []
    try:
        yield failed
    except Exception as error:  # whatever a library raises
        told = in_words(error).removesuffix(f" {WITHOUT}")
        failed.append(_FOLDERS.sub("", told)[:_LONGEST].removesuffix("."))
        stage.outcome = f"left out: {failed[0]}"
        stage.warn(
            f"not measured: {told.removesuffix('.')}. The artifact is complete without it; try `poolfold bench` later."
        )


def _with_option(left_out: Mapping[str, str], options: ExportOptions) -> dict[str, str]:
    """The reasons, with the option that gives more time where that would help."""
    of_option = f" of --bench-seconds {options.bench_seconds}"
    return {name: why + of_option * why.endswith(" left") for name, why in left_out.items()}


def _by_reason(left_out: Mapping[str, str]) -> str:
    """Names under the reason that they share."""
    reasons = dict.fromkeys(left_out.values())
    return "; ".join(f"{', '.join(name for name, why in left_out.items() if why == r)}: {r}" for r in reasons)
