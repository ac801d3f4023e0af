"""`poolfold report`: an artifact's own parity and latency as a page. Measures nothing; reads the manifest."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from exporter.artifact.publish import require_apart
from exporter.commands import flags
from exporter.host.console import Console
from exporter.host.libraries import require
from poolfold.errors import InputError
from poolfold.verify import verify


@click.command(
    epilog=flags.examples("poolfold report artifacts/minilm", "poolfold report artifacts/minilm -o public/minilm")
)
@flags.artifact
@click.option("-o", "--output", type=flags.FOLDER, metavar="FOLDER", help="[default: DIR-report, beside DIR]")
@click.option("--force", is_flag=True, help="Write into a FOLDER that is not empty.")
@flags.as_json
@flags.quiet
def report(*, directory: Path, output: Path | None, force: bool, as_json: bool, quiet: bool) -> None:
    """Write what DIR says of itself as an HTML page.

    Its parity (whether it gives its model's vectors) and latency, with plots beside the page. Measures nothing.
    """
    console = Console(as_json=as_json, quiet=quiet)
    with console.waiting("verify"):
        require("jinja2", "matplotlib")
        from exporter.reporting.artifact_page import write_artifact

        manifest = verify(directory)
    place = directory.resolve()
    folder = output or place.with_name(f"{place.name}-report")
    require_apart(folder, [directory])
    if folder.resolve().is_relative_to(place):
        raise InputError(f"{folder} lies in the artifact, which takes no further files. Choose another with -o.")
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty. Choose another with -o, or pass --force to write over it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with console.stage("report") as stage:
            page = write_artifact(folder, directory, manifest)
            stage.outcome = str(page)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}). Choose another with -o.") from None
    console.line(f"Report: {page}")
    console.json(
        {
            "directory": str(directory),
            "report": str(page),
            "parity": msgspec.to_builtins(manifest.parity),
            "latency": msgspec.to_builtins(manifest.latency),
        }
    )
