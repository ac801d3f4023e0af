"""`poolfold compare`: quality, speed and memory of each strategy on the user's data, and which one to take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from exporter import api
from exporter.commands import flags
from exporter.host.console import Console

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
    help="Pairs with scores, labelled texts or bare texts (.csv, .tsv, .jsonl, .parquet, .txt), a folder in BEIR's "
    "layout, or a data set's hub id.",
)
@click.option(
    "--kind",
    type=flags.Names(["pairs", "retrieval", "labels", "texts"]),
    help="What DATA is.  [default: by its columns]",
)
@click.option(
    "--format",
    "file_format",
    type=flags.Names(["csv", "tsv", "jsonl", "parquet", "txt"]),
    help="How it is written.  [default: by its suffix]",
)
@click.option(
    "--columns", metavar="A,B,...", help="Two texts and a score; text and label; or text.  [default: their usual names]"
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
    _print(report.comparison, report.described["model"], console)
    console.line(f"Report: {report.page}")
    console.json({**report.described, "report": str(report.page)})


def _print(comparison: Comparison, model: str, console: Console) -> None:
    # Not before: a light install lacks what these import.
    from exporter.comparison.as_json import next_command
    from exporter.comparison.cost import system_name

    decides, *others = comparison.metrics
    rows = []
    for dtype, strategies in comparison.quality.items():
        for name in comparison.ranked(dtype):
            entry, metrics = comparison.entry(name), strategies[name]
            cost, system = comparison.cost, system_name(entry, dtype)
            time = None if cost is None else cost.milliseconds(system)
            memory = None if cost is None else cost.most_memory(system)
            rows.append([
                f"{name}*" if entry.trained else name, dtype,
                f"{metrics[decides].value:.3f} [{metrics[decides].low:.3f}, {metrics[decides].high:.3f}]",
                *(f"{metrics[other].value:.3f}" for other in others),
                "-" if time is None else f"{time:.1f}", "-" if memory is None else f"{memory:.0f}",
                f"{entry.disk_bytes(dtype) / 2**20:.0f}", str(entry.dimensions),
            ])  # fmt: skip
    header = ["strategy", "dtype", decides, *others, "ms", "MiB", "disk", "dim"]
    dims = {entry.dimensions for entry in comparison.entries}
    if len(dims) == 1:  # a terminal is narrow
        header, rows = header[:-1], [row[:-1] for row in rows]
    sizes = "/".join(str(dim) for dim in sorted(dims))
    console.table(f"{model}: {sizes} dimensions, ranked by {decides}", header, rows)
    console.line(f"*: trained. [95 % interval]; the report has those of {', '.join(others)} too. disk: MiB.")
    if comparison.cost is not None:
        longest = max((length for lengths in comparison.cost.memory.values() for length in lengths), default=None)
        memory_said = (
            "" if longest is None else f" MiB: what model and {comparison.cost.rows} texts of {longest} tokens add."
        )
        console.line(
            f"ms: {comparison.cost.rows} texts of up to 128 tokens, median, ONNX Runtime on the CPU.{memory_said}"
        )
    for dtype, costs in comparison.precision_cost.items():
        moved = ", ".join(f"{n} {i.value:+.5f} [{i.low:+.5f}, {i.high:+.5f}]" for n, i in costs.items())
        console.line(f"What {dtype} costs against {comparison.dtype} on {comparison.verdict.metric}: {moved}")
    console.line("")
    console.line(" ".join(comparison.verdict.reasons))
    console.line("")
    sure = "" if comparison.verdict.significant else " (no significant lead)"
    console.line(f"Take {comparison.verdict.recommended}{sure}: {next_command(comparison)}")
