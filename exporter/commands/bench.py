"""`poolfold bench`: what an artifact runs on a target against the model it came from, interleaved."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter import api
from exporter.commands import flags
from exporter.commands.artifact_table import DISTURBED, left_out_lines, milliseconds, ratio
from exporter.host.console import Console, count
from exporter.host.libraries import keep_out
from exporter.spec.origin import BASELINES, origin_of
from poolfold.manifest import read_manifest

if TYPE_CHECKING:
    from exporter.measure.report import LatencyReport


@flags.defaults_of(api.bench)
@click.command(
    epilog=flags.examples(
        "poolfold bench artifacts/minilm", "poolfold bench artifacts/mine --model ./checkpoint --seconds 30"
    )
)
@flags.artifact
@click.option("--target", type=flags.TARGETS, help="Measure what runs on this target.")
@flags.provider
@click.option("--seconds", type=click.IntRange(min=1), help="About how long to measure.")
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: the hub id that DIR has]")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def bench(directory: Path, model: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Time what DIR runs on a target beside its model.

    Latency, throughput and peak memory; all take turns on each workload.
    """
    console = Console(as_json=as_json, quiet=quiet)
    source = model or read_manifest(directory).model.source
    keep_out(*origin_of(source).without)
    with console.waiting("bench"):
        report = api.bench(directory, model=model, console=console, **options)
    _print(report, f"{directory}: latency beside {source} itself, {count(report.threads, 'thread')}", console)
    console.json({"directory": str(directory), **dataclasses.asdict(report)})


def _print(report: LatencyReport, title: str, console: Console) -> None:
    whose = BASELINES[report.systems[0].runtime]
    memory = {entry.system: entry.increase_bytes for entry in report.memory}
    marks = any(timing.disturbed for timing in report.timings)
    rows = []
    for timing in report.timings:
        ms, speedup = timing.latency_ms, timing.speedup
        rows.append([
            timing.system, timing.workload, milliseconds(ms.median),
            f"{milliseconds(ms.q1)} to {milliseconds(ms.q3)}", ratio(speedup.median, timing.disturbed, marks=marks),
            f"{speedup.q1:.2f} to {speedup.q3:.2f}", f"{timing.sentences_per_s:.0f}", f"{timing.tokens_per_s:.0f}",
            _mib(memory[timing.system]),
        ])  # fmt: skip
    header = ("system", "texts x\ntokens", "median\nms", "quartiles\nms", "ratio", "ratio's\nquartiles", "texts/s")
    gives_way = ("real tokens/s", "memory MiB", "texts/s", "ratio's quartiles", "quartiles ms")
    left_out = console.table(
        title,
        (*header, "real\ntokens/s", "memory\nMiB"),
        rows,
        gives_way=gives_way,
    )
    console.note(f"ratio: {whose} time over this one's in the same round, of all rounds; above 1 is faster.")
    if "memory MiB" not in left_out:
        console.note("MiB: what model and largest batch add to the process.")
    if marks:
        console.note(DISTURBED)
    for line in left_out_lines(report.left_out):
        console.note(line)
    if report.left_out:
        console.note("Give what was left out more time with --seconds.")
    if left_out:
        console.note(f"Too wide for this terminal: {', '.join(left_out)}. --json has all.")


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f}"
