"""`poolfold build`: engines from an artifact's graphs, added to it and published whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exporter import api
from exporter.commands import flags
from exporter.commands.artifact_table import as_json as artifact_json
from exporter.commands.artifact_table import print_table
from exporter.commands.engine_table import print_engines
from exporter.host.console import Console
from exporter.host.text_file import read_texts


@flags.defaults_of(api.build)
@click.command(
    epilog=flags.examples(
        "poolfold build artifacts/minilm --target tensorrt-rtx",
        "poolfold build artifacts/minilm --target tensorrt --batch 1:1:8 -o minilm-l4",
    )
)
@flags.artifact
@click.option("--target", "targets", type=flags.ENGINES, multiple=True, required=True, help="Repeat for both.")
@click.option("-o", "--output", type=flags.FOLDER, metavar="DIR", help="Where the result goes.  [default: over DIR]")
@click.option(
    "--strategy", "--pooling", "strategies", type=flags.Pooling(), multiple=True, metavar="S",
    help="Of DIR's. Repeat.  [default: all]",
)  # fmt: skip
@click.option(
    "--dtype",
    "dtypes",
    type=flags.DTYPES,
    multiple=True,
    help="Of DIR's. Repeat.  [default: all that the target has]",
)
@flags.building
@click.option("--texts", type=flags.FOLDER, metavar="FILE", help="Your own texts, one a line, UTF-8, for --buckets.")
@click.option("--force", is_flag=True, help="Replace a directory named by -o that is not empty.")
@flags.as_json
@flags.quiet
def build(directory: Path, output: Path | None, texts: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Build engines from the graphs of DIR, and add them.

    DIR is an artifact, made here or elsewhere. An engine is a graph compiled for certain GPUs and shapes.
    """
    console = Console(as_json=as_json, quiet=quiet)
    with console.waiting("build"):
        manifest = api.build(directory, output=output, texts=read_texts(texts), console=console, **options)
    place = output or directory
    print_table(manifest, place, console)
    print_engines(manifest, console, insides=True)
    console.json(artifact_json(manifest, place))
