"""A comparison as a page: which strategy, how sure that is, and what each costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporter.comparison.as_json import as_json, headline
from exporter.comparison.breakdown import PartOf
from exporter.comparison.comparison import Comparison, compare
from exporter.comparison.entries import CompareOptions
from exporter.comparison.folder import claimed
from exporter.comparison.quality import cosines, unit_rows
from exporter.comparison.recommendation import RULES, RULES_WITHOUT_LABELS
from exporter.comparison.resampling import Interval
from exporter.comparison.small_index import RESCORED
from exporter.comparison.tasks import UNITS, Pairs, Task, counted
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
    content = json.dumps(described, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "compare.json", lambda file: file.write(content.encode()))
    page = folder / "report.html"
    write_page(
        page,
        title=f"Which pooling: {title}",
        lead=[headline(comparison), " ".join(verdict.reasons)],
        command=comparison.next_command or "",
        sections=[
            _quality(folder, comparison),
            *cost_sections(folder, comparison),
            _shape(folder, comparison),
            *_parts(folder, comparison),
            *_small(comparison),
        ],
        environment=described["environment"],
    )
    return page


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.value:{sign}.4f} [{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


def _quality(folder: Path, comparison: Comparison) -> Section:
    decides, first = comparison.verdict.metric, comparison.dtype
    rows = [
        [f"{name}{' (trained)' if comparison.entry(name).trained else ''}", dtype,
         *(_shown(strategies[name][m]) if m in strategies[name] else "-" for m in comparison.metrics),
         str(comparison.entry(name).dimensions)]
        for dtype, strategies in comparison.quality.items()
        for name in comparison.ranked(dtype)
    ]  # fmt: skip
    if decides is None:
        text = [f"Measured on {comparison.units}, with 95 % intervals. {RULES_WITHOUT_LABELS}"]
    else:
        rules = RULES.format(margin=comparison.verdict.margin)
        text = [f"{decides} on {comparison.units} decides. Intervals are 95 %, by a bootstrap. {rules}"]
    corrected = "corrected " if len(comparison.leads) > 1 else ""
    text += [
        f"{comparison.verdict.best} over {lead.over}: {_shown(lead.difference, '+')}, {corrected}p = {lead.p:.2g}: "
        f"{lead.outcome}{'' if lead.more is None else _more(lead.more, comparison)}."
        for lead in comparison.leads
    ]
    for dtype, costs in comparison.precision_cost.items():
        moved = ", ".join(f"{name} {i.value:+.5f} [{i.low:+.5f}, {i.high:+.5f}]" for name, i in costs.items())
        text.append(f"What {dtype} costs against {first} on {decides}: {moved}.")
    header = ("strategy", "dtype", *comparison.metrics, "dim")
    parts: list[Figure | Table] = [Table("Metrics of each strategy, with their 95 % intervals", header, rows)]
    metric = comparison.metrics[0]
    values = {
        name: (interval.value, interval.low, interval.high)
        for name in comparison.ranked(first)
        if (interval := comparison.quality[first][name].get(metric)) is not None
    }
    bars = plots.intervals(folder, "quality", values, list(comparison.vectors), x=metric)
    parts.append(Figure(bars, f"{metric} of each strategy in {first}, with its 95 % interval"))
    return Section("Quality", text, parts)


def _more(more: int, comparison: Comparison) -> str:
    return f", about {counted(more, UNITS[type(comparison.task)], 'more ')} would"


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


def _small(comparison: Comparison) -> Sequence[Section]:
    """What smaller vectors of the recommended strategy cost, of data that are searched."""
    if not comparison.small_indexes:
        return ()
    name, metric = comparison.verdict.recommended, comparison.metrics[0]
    whole = comparison.quality[comparison.dtype][name][metric]
    size = 4 * comparison.entry(name).dimensions
    rows = [["float32", str(size), "1", _shown(whole), "-"]]
    for index in comparison.small_indexes:
        label = f"{index.precision}, best {RESCORED} ranked again" if index.rescored else index.precision
        smaller = f"{size / index.bytes:.0f}"
        rows.append([label, str(index.bytes), smaller, _shown(index.value), _shown(index.against, "+")])
    text = (
        f"Documents and queries by {name}, in fewer bits: `encode(..., precision=)`. Ranked again: the best {RESCORED} "
        "of a query by its float32 vector against the small ones of the documents, so that the index stays small."
    )
    header = ("vectors", "bytes of one", "times smaller", metric, "less float32's")
    return (Section("A smaller index", (text,), (Table("What fewer bits cost, with 95 % intervals", header, rows),)),)


def _parts(folder: Path, comparison: Comparison) -> Sequence[Section]:
    """By language, domain and length: a strategy may win on short texts and lose on long ones."""
    sections = []
    metric, (_, units) = comparison.metrics[0], UNITS[type(comparison.task)]
    for by in dict.fromkeys(part.by for part in comparison.parts):
        parts: list[PartOf] = [part for part in comparison.parts if part.by == by]
        names = list(parts[0].values)
        values = {name: {p.name: (i.value, i.low, i.high) for p in parts if (i := p.values[name])} for name in names}
        svg = plots.grouped(folder, f"by-{by}", values, list(comparison.vectors), y=metric)
        table = Table(
            f"{metric} by {by}, with 95 % intervals",
            (by, units, *names),
            [[p.name, str(p.units), *(_shown(p.values[name]) for name in names)] for p in parts],
        )
        described = f"Differences within the intervals are noise. Parts with fewer than ten {units} are left out."
        figure = Figure(svg, f"{metric} of each strategy by {by}, with 95 % intervals")
        sections.append(Section(f"By {by}", (described,), (figure, table)))
    return sections
