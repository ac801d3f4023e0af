"""`poolfold bench`: what an artifact runs on a target against the model it came from, interleaved."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter import api
from exporter.commands import flags
from exporter.host.console import Console
from exporter.host.libraries import keep_out
from exporter.spec.origin import BASELINES, origin_of
from poolfold.manifest import read_manifest

if TYPE_CHECKING:
    from exporter.measure.report import Timing


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
    """Measure latency, throughput and peak memory of what DIR runs on a target against its model, interleaved."""
    console = Console(as_json=as_json, quiet=quiet)
    keep_out(*origin_of(model or read_manifest(directory).model.source).without)
    report = api.bench(directory, model=model, console=console, **options)
    for name, why in report.left_out.items():
        console.warn(f"{name} was left out: {why}. Give it more time with --seconds.")
    whose = BASELINES[report.systems[0].runtime]
    memory = {entry.system: entry.increase_bytes for entry in report.memory}
    console.table(
        f"{directory}, {report.threads} threads: median [quartiles] of the rounds; x is {whose} time over this one's",
        ("system", "batch x tokens", "ms", "x", "sentences/s", "real tokens/s", "MiB added"),
        [
            (
                timing.system,
                timing.workload,
                f"{timing.latency_ms.median:.2f} [{timing.latency_ms.q1:.2f}, {timing.latency_ms.q3:.2f}]",
                _ratio(timing),
                f"{timing.sentences_per_s:.0f}",
                f"{timing.tokens_per_s:.0f}",
                _mib(memory[timing.system]),
            )
            for timing in report.timings
        ],
    )
    console.json({"directory": str(directory), **dataclasses.asdict(report)})


def _ratio(timing: Timing) -> str:
    mark = " disturbed" if timing.disturbed else ""
    return f"{timing.speedup.median:.2f} [{timing.speedup.q1:.2f}, {timing.speedup.q3:.2f}]{mark}"


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f}"
