"""`poolfold compare`: quality, speed and memory of each strategy on the user's data, and which one to take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter import api
from exporter.commands import flags
from exporter.host.console import Console, count

if TYPE_CHECKING:
    from exporter.comparison.comparison import Comparison


@flags.defaults_of(api.compare)
@click.command(
    epilog=flags.examples(
        "poolfold compare all-MiniLM-L6-v2 --data pairs.tsv -o report",
        "poolfold compare artifacts/minilm --data corpus/ --json",
    )
)
@click.argument("model", metavar="MODEL|DIR")
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="Pairs with scores, questions and answers, triplets, labelled texts or bare texts (.csv, .tsv, .jsonl, "
    ".parquet, .txt), a folder in BEIR's layout, or a data set's hub id.",
)
@click.option(
    "--kind",
    type=flags.Names(["pairs", "retrieval", "triplets", "labels", "texts"]),
    help="What DATA is.  [default: by its columns]",
)
@click.option(
    "--format",
    "file_format",
    type=flags.Names(["csv", "tsv", "jsonl", "parquet", "txt"]),
    help="How it is written.  [default: by its suffix]",
)
@click.option(
    "--columns",
    metavar="A,B,...",
    help="Two texts and a score; anchor, positive and negative; question and answer; text and label; or text.  "
    "[default: their usual names]",
)
@click.option(
    "--pooling", "--strategy", "pooling", type=flags.Pooling(), multiple=True, metavar="S",
    help="Repeat.  [default: the trained one, cls, mean and max; all of DIR's]",
)  # fmt: skip
@click.option(
    "--dtype",
    "dtypes",
    type=flags.GRAPH_DTYPES,
    multiple=True,
    help="The verdict goes by the first.",
)
@click.option(
    "-o", "--output", type=flags.FOLDER, metavar="DIR", help="Report and what was made for it.  [default: user's cache]"
)
@click.option(
    "--against",
    multiple=True,
    metavar="MODEL|DIR",
    help="Another model, such as a distilled one; its trained strategy takes part. Repeat.",
)
@click.option(
    "--margin", type=float, help="A difference of less, in points of the metric that decides, counts as none."
)
@click.option("--seconds", type=click.IntRange(min=1), help="About how long to time.")
@click.option("--skip-cost", is_flag=True, help="Leave out speed and memory.")
@flags.revision
@flags.threads
@flags.pickle
@flags.remote
@flags.tokenizer
@flags.as_json
@flags.quiet
def compare(columns: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Compare pooling strategies on your own data.

    Quality with intervals, speed, memory, and which one to take.
    """
    console = Console(as_json=as_json, quiet=quiet)
    with console.waiting("compare"):
        report = api.compare(columns=columns.split(",") if columns else (), console=console, **options)
    _print(report.comparison, Path(report.described["model"]).name, console)
    console.line(f"Report: {report.page}")
    console.json({**report.described, "report": str(report.page)})


def _print(comparison: Comparison, model: str, console: Console) -> None:
    """One row a strategy in the precision that decides; what else must be known, below."""
    # Not before: a light install lacks what these import.
    from exporter.comparison.as_json import headline
    from exporter.comparison.cost import mib

    decides, dtype = comparison.metrics[0], comparison.dtype
    columns = {"strategy": [], **_quality_columns(comparison), **_cost_columns(comparison)}
    names = comparison.ranked(dtype)
    columns["strategy"] = [f"{name}*" if comparison.entry(name).trained else name for name in names]
    columns["disk"] = [mib(comparison.entry(name).disk_bytes(dtype)) for name in names]
    ranked = "without labels" if comparison.verdict.metric is None else f"ranked by {decides}"
    title = f"{model}: {comparison.units} {ranked}, {dtype}".replace(" ranked", ", ranked")
    gives_way = ["disk", *(name for name in columns if name in comparison.metrics[1:]), "MiB"]
    left_out = console.table(title, list(columns), list(zip(*columns.values(), strict=True)), gives_way=gives_way)
    if left_out:
        console.note(f"Too wide for this terminal: {', '.join(left_out)}. The report has them.")
    for line in (*_remarks(comparison), "", *comparison.verdict.reasons, "", headline(comparison)):
        console.note(line)
    if comparison.next_command is not None:
        console.line(comparison.next_command)


def _quality_columns(comparison: Comparison) -> dict[str, list[str]]:
    decides, *others = comparison.metrics
    names, measured = comparison.ranked(comparison.dtype), comparison.quality[comparison.dtype]
    if comparison.verdict.metric is None:  # nothing is decided: no intervals
        return {
            metric: [f"{measured[name][metric].value:.3f}" if metric in measured[name] else "-" for name in names]
            for metric in comparison.metrics
        }
    values = [measured[name][decides] for name in names]
    columns = {decides: [f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]" for value in values]}
    if comparison.leads:
        said = {lead.over: "behind" if lead.outcome == "ahead" else lead.outcome for lead in comparison.leads}
        return {**columns, "verdict": [said.get(name, "best") for name in names]}
    return {**columns, **{other: [f"{measured[name][other].value:.3f}" for name in names] for other in others[:2]}}


def _cost_columns(comparison: Comparison) -> dict[str, list[str]]:
    from exporter.comparison.cost import system_name

    cost, dtype = comparison.cost, comparison.dtype
    systems = [system_name(comparison.entry(name), dtype) for name in comparison.ranked(dtype)]
    columns = {}
    if cost is not None and cost.usual is not None:
        timings = [cost.timing(system) for system in systems]
        columns[f"{cost.usual.name} ms"] = [
            "-" if timing is None else f"{timing.latency_ms.median:.1f}{'?' if timing.disturbed else ''}"
            for timing in timings
        ]
    if cost is not None and any(cost.memory.values()):
        weights = [cost.most_memory(system) for system in systems]
        columns["MiB"] = ["-" if weight is None else f"{weight:.0f}" for weight in weights]
    return columns


def _remarks(comparison: Comparison) -> Iterator[str]:
    """How to read the table, and what is not in it."""
    cost, (decides, *others) = comparison.cost, comparison.metrics
    trained = any(entry.trained for entry in comparison.entries)
    yield f"{'*: the model was trained with it. ' if trained else ''}disk: MiB of graph and weights."
    if comparison.leads:
        yield "[95 % interval] of each alone. The verdict goes by the intervals of their differences, below."
    if comparison.verdict.metric is not None and others:
        yield f"The report has {', '.join(others)}, each with its interval, too."
    if cost is None:
        yield f"Speed and memory were {comparison.no_cost}."
    else:
        if cost.usual is not None:
            texts = count(cost.usual.batch, "text")
            yield f"{cost.usual.name} ms: {texts} of {cost.usual.seq_len} tokens, median, ONNX Runtime on the CPU."
        longest = max((length for lengths in cost.memory.values() for length in lengths), default=None)
        if longest is not None:
            texts = count(cost.rows, "text")
            yield f"MiB: what model and {texts} of {longest} tokens add to a process."
        yield from cost.remarks
    for dtype, costs in comparison.precision_cost.items():
        moved = (f"{name} {by.value:+.4f} [{by.low:+.4f}, {by.high:+.4f}]" for name, by in costs.items())
        yield f"{dtype} moves {decides} by: {', '.join(moved)}.{_saved(comparison, dtype)}"
    for index in comparison.small_indexes:
        times = 4 * comparison.entry(comparison.verdict.recommended).dimensions / index.bytes
        by = index.against
        shown = f"{by.value:+.4f} [{by.low:+.4f}, {by.high:+.4f}]"
        how = ", its best ranked again by float32 queries," if index.rescored else f" ({times:.0f} times smaller)"
        yield f"An index in {index.precision}{how} moves {decides} by {shown}."
    dims = {entry.name: entry.dimensions for entry in comparison.entries}
    if len(set(dims.values())) > 1:
        yield f"Dimensions: {', '.join(f'{name} {dim}' for name, dim in dims.items())}."


def _saved(comparison: Comparison, dtype: str) -> str:
    """What the recommended entry takes in another precision, beside the first one."""
    from exporter.comparison.cost import mib, system_name

    entry, first, cost = comparison.entry(comparison.verdict.recommended), comparison.dtype, comparison.cost
    small, whole = entry.disk_bytes(dtype), entry.disk_bytes(first)
    if not small:
        return ""
    said = f" {entry.name} then takes {mib(small)} MiB on disk instead of {mib(whole)}"
    timings = [cost.timing(system_name(entry, d)) for d in (dtype, first)] if cost is not None else []
    if cost is not None and cost.usual is not None and all(t is not None and not t.disturbed for t in timings):
        now, before = (t.latency_ms.median for t in timings if t is not None)
        said += f", and {now:.1f} ms instead of {before:.1f} for {cost.usual.name}"
    return f"{said}."
