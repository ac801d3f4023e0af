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


def write_comparison(folder: Path, comparison: Comparison, described: Mapping[str, Any], *, title: str) -> Path:
    """Write report.html, its plots as PNG and compare.json into a folder; returns the page."""
    verdict = comparison.verdict
    sure = "" if verdict.significant else " No lead on these data is significant enough to decide by."
    content = json.dumps(described, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "compare.json", lambda file: file.write(content.encode()))
    page = folder / "report.html"
    write_page(
        page,
        title=f"Which pooling: {title}",
        lead=[f"Take {verdict.recommended}.{sure}", " ".join(verdict.reasons)],
        command=str(described["verdict"]["next"]),
        sections=[
            _quality(folder, comparison),
            *cost_sections(folder, comparison),
            _shape(folder, comparison),
            *_parts(folder, comparison),
        ],
        environment=described["environment"],
    )
    return page


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.value:{sign}.4f} [{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


def _quality(folder: Path, comparison: Comparison) -> Section:
    metric, first = comparison.verdict.metric, comparison.dtype
    rows = [
        [f"{name}{' (trained)' if comparison.entry(name).trained else ''}", dtype,
         *(_shown(strategies[name][m]) for m in comparison.metrics), str(comparison.entry(name).dimensions)]
        for dtype, strategies in comparison.quality.items()
        for name in comparison.ranked(dtype)
    ]  # fmt: skip
    units = f"{len(comparison.task.units)} {UNITS[type(comparison.task)]}"
    text = [f"{metric} decides. Intervals are 95 %, by a bootstrap over {units}. {RULES}"]
    text += [
        f"{comparison.verdict.best} over {lead.over}: {_shown(lead.difference, '+')}, p = {lead.p:.3g}, corrected for "
        f"{len(comparison.leads)} comparisons: {'significant' if lead.significant else 'not significant'}."
        for lead in comparison.leads
    ]
    for dtype, costs in comparison.precision_cost.items():
        moved = ", ".join(f"{name} {i.value:+.5f} [{i.low:+.5f}, {i.high:+.5f}]" for name, i in costs.items())
        text.append(f"What {dtype} costs against {first} on {metric}: {moved}.")
    values = {
        n: (interval.value, interval.low, interval.high)
        for n in comparison.ranked(first)
        if (interval := comparison.quality[first][n][metric])
    }
    bars = plots.intervals(folder, "quality", values, list(comparison.vectors), x=metric)
    return Section(
        "Quality",
        text,
        (
            Table(
                "Metrics of each strategy, with their 95 % intervals",
                ("strategy", "dtype", *comparison.metrics, "dim"),
                rows,
            ),
            Figure(bars, f"{metric} of each strategy in {first}, with its 95 % interval"),
        ),
    )


def _shape(folder: Path, comparison: Comparison) -> Section:
    """How the vectors of different texts lie to each other, and, of pairs, how the alike ones lie."""
    different = {}
    for name, vectors in comparison.vectors.items():
        rows = unit_rows(vectors[np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(int)])
        different[name] = (rows @ rows.T)[np.triu_indices(len(rows), k=1)]
    spread = ", ".join(f"{name} {values.mean():.3f}" for name, values in different.items())
    text = (
        f"Mean cosine of two different texts: {spread}. Where all lie close together a threshold separates little, "
        "although the ranking may still be right."
    )
    svg = plots.histograms(folder, "cosines", different, x="cosine of two texts", y="density")
    parts = [Figure(svg, "Cosines between different texts, for each strategy")]
    if isinstance(comparison.task, Pairs):
        pairs = {name: cosines(comparison.task, vectors) for name, vectors in comparison.vectors.items()}
        svg = plots.clouds(folder, "pairs", pairs, comparison.task.scores, x="score", y="cosine")
        parts.append(Figure(svg, "Cosine of each pair against its score, for each strategy"))
    return Section("How the vectors lie", (text,), parts)


def _parts(folder: Path, comparison: Comparison) -> Sequence[Section]:
    """By language, domain and length: a strategy may win on short texts and lose on long ones."""
    sections = []
    names = list(comparison.vectors)
    for by in dict.fromkeys(part.by for part in comparison.parts):
        interval: list[PartOf] = [part for part in comparison.parts if part.by == by]
        values = {name: {p.name: (i.value, i.low, i.high) for p in interval if (i := p.values[name])} for name in names}
        svg = plots.grouped(folder, f"by-{by}", values, y=comparison.verdict.metric)
        table = Table(
            f"{comparison.verdict.metric} by {by}, with 95 % intervals",
            (by, UNITS[type(comparison.task)], *names),
            [[p.name, str(p.units), *(_shown(p.values[name]) for name in names)] for p in interval],
        )
        described = "Differences within the intervals are noise. Parts with fewer than ten are left out."
        figure = Figure(svg, f"{comparison.verdict.metric} of each strategy by {by}, with 95 % intervals")
        sections.append(Section(f"By {by}", (described,), (figure, table)))
    return sections
