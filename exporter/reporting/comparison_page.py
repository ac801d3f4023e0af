"""A comparison as a page: which strategy, how sure that is, and what each costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporter.comparison.as_json import as_json
from exporter.comparison.breakdown import PartOf
from exporter.comparison.comparison import Comparison, compare
from exporter.comparison.entries import CompareOptions
from exporter.comparison.folder import claimed
from exporter.comparison.quality import cosines, unit_rows
from exporter.comparison.recommendation import RULES
from exporter.comparison.resampling import Interval
from exporter.comparison.tasks import UNITS, Pairs, Task
from exporter.host.console import Console
from exporter.reporting import plots
from exporter.reporting.cost_section import cost_sections
from exporter.reporting.page import Figure, Section, Table, write_page
from poolfold.sessions.user_cache import write_whole

_SAMPLE = 400
"""Texts whose pairs are drawn: their cosines are many enough for a histogram."""


@dataclass(frozen=True)
class ComparisonReport:
    """A comparison and what was written of it.

    described: the comparison as scripts read it, ready for JSON.
    page: report.html.
    """

    comparison: Comparison
    described: Mapping[str, Any]
    page: Path


def compare_and_report(options: CompareOptions, task: Task, console: Console) -> ComparisonReport:
    """Compare the strategies of a model on a task, and write the page into the comparison's folder.

    Raises:
        PoolfoldError: bad input, or an export that failed.
    """
    with claimed(options.folder):
        comparison = compare(options, task, console)
    described = as_json(comparison, options.model, options.data)
    with console.stage("report") as stage:
        title = f"{Path(options.model).name} on {Path(options.data).name}"
        page = write_comparison(options.folder, comparison, described, title=title)
        stage.outcome = str(page)
    return ComparisonReport(comparison, described, page)


def write_comparison(folder: Path, found: Comparison, said: Mapping[str, Any], *, title: str) -> Path:
    """Write report.html, its plots as PNG and compare.json into a folder; returns the page."""
    verdict = found.verdict
    sure = "" if verdict.significant else " No lead on these data is significant enough to decide by."
    content = json.dumps(said, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "compare.json", lambda file: file.write(content.encode()))
    page = folder / "report.html"
    write_page(
        page,
        title=f"Which pooling: {title}",
        lead=[f"Take {verdict.recommended}.{sure}", " ".join(verdict.reasons)],
        command=str(said["verdict"]["next"]),
        sections=[
            _quality(folder, found),
            *cost_sections(folder, found),
            _shape(folder, found),
            *_parts(folder, found),
        ],
        environment=said["environment"],
    )
    return page


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.value:{sign}.4f} [{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


def _quality(folder: Path, found: Comparison) -> Section:
    metric, first = found.verdict.metric, found.dtype
    rows = [
        [f"{name}{' (trained)' if found.entry(name).trained else ''}", dtype,
         *(_shown(strategies[name][m]) for m in found.metrics), str(found.entry(name).dimensions)]
        for dtype, strategies in found.quality.items()
        for name in found.ranked(dtype)
    ]  # fmt: skip
    units = f"{len(found.task.units)} {UNITS[type(found.task)]}"
    text = [f"{metric} decides. Intervals are 95 %, by a bootstrap over {units}. {RULES}"]
    text += [
        f"{found.verdict.best} over {lead.over}: {_shown(lead.difference, '+')}, p = {lead.p:.3g}, corrected for "
        f"{len(found.leads)} comparisons: {'significant' if lead.significant else 'not significant'}."
        for lead in found.leads
    ]
    for dtype, costs in found.precision_cost.items():
        moved = ", ".join(f"{name} {i.value:+.5f} [{i.low:+.5f}, {i.high:+.5f}]" for name, i in costs.items())
        text.append(f"What {dtype} costs against {first} on {metric}: {moved}.")
    values = {n: (of.value, of.low, of.high) for n in found.ranked(first) if (of := found.quality[first][n][metric])}
    bars = plots.intervals(folder, "quality", values, list(found.vectors), x=metric)
    return Section(
        "Quality",
        text,
        (
            Table(
                "Metrics of each strategy, with their 95 % intervals",
                ("strategy", "dtype", *found.metrics, "dim"),
                rows,
            ),
            Figure(bars, f"{metric} of each strategy in {first}, with its 95 % interval"),
        ),
    )


def _shape(folder: Path, found: Comparison) -> Section:
    """How the vectors of different texts lie to each other, and, of pairs, how the alike ones lie."""
    different = {}
    for name, vectors in found.vectors.items():
        rows = unit_rows(vectors[np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(int)])
        different[name] = (rows @ rows.T)[np.triu_indices(len(rows), k=1)]
    spread = ", ".join(f"{name} {values.mean():.3f}" for name, values in different.items())
    text = (
        f"Mean cosine of two different texts: {spread}. Where all lie close together a threshold separates little, "
        "although the ranking may still be right."
    )
    svg = plots.histograms(folder, "cosines", different, x="cosine of two texts", y="density")
    parts = [Figure(svg, "Cosines between different texts, for each strategy")]
    if isinstance(found.task, Pairs):
        pairs = {name: cosines(found.task, vectors) for name, vectors in found.vectors.items()}
        svg = plots.clouds(folder, "pairs", pairs, found.task.scores, x="score", y="cosine")
        parts.append(Figure(svg, "Cosine of each pair against its score, for each strategy"))
    return Section("How the vectors lie", (text,), parts)


def _parts(folder: Path, found: Comparison) -> Sequence[Section]:
    """By language, domain and length: a strategy may win on short texts and lose on long ones."""
    sections = []
    names = list(found.vectors)
    for by in dict.fromkeys(part.by for part in found.parts):
        of: list[PartOf] = [part for part in found.parts if part.by == by]
        values = {name: {p.name: (i.value, i.low, i.high) for p in of if (i := p.values[name])} for name in names}
        svg = plots.grouped(folder, f"by-{by}", values, y=found.verdict.metric)
        table = Table(
            f"{found.verdict.metric} by {by}, with 95 % intervals",
            (by, UNITS[type(found.task)], *names),
            [[p.name, str(p.units), *(_shown(p.values[name]) for name in names)] for p in of],
        )
        said = "Differences within the intervals are noise. Parts with fewer than ten are left out."
        figure = Figure(svg, f"{found.verdict.metric} of each strategy by {by}, with 95 % intervals")
        sections.append(Section(f"By {by}", (said,), (figure, table)))
    return sections
