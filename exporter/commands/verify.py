"""`poolfold verify`: every file of an artifact against its manifest."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.commands import flags
from exporter.host.console import Console, count
from poolfold.errors import ArtifactDiffers, CheckFailed
from poolfold.verify import verify as verify_artifact
from poolfold.verify.unlisted import list_others


@click.command(epilog=flags.examples("poolfold verify artifacts/minilm", "poolfold verify artifacts/minilm --json"))
@flags.artifact
@flags.as_json
@flags.quiet
def verify(*, directory: Path, as_json: bool, quiet: bool) -> None:
    """Check every file of DIR against its manifest.

    Ends with 1 where one differs.
    """
    console = Console(as_json=as_json, quiet=quiet)
    try:
        with console.waiting("verify"):
            manifest = verify_artifact(directory)
    except ArtifactDiffers as error:
        console.json({"directory": str(directory), "intact": False, "differs": list(error.problems)})
        console.error(str(error))
        raise click.exceptions.Exit(CheckFailed.exit_code) from None
    size = sum(file.bytes for file in manifest.files)
    others = list_others(directory, manifest).apart
    console.line(f"{directory}: {count(len(manifest.files), 'file')}, {size / 2**20:.1f} MiB, all as the manifest says")
    if others:
        console.line(f"Not part of the artifact, and not read: {', '.join(map(repr, others))}")
    console.json(
        {"directory": str(directory), "files": len(manifest.files), "bytes": size, "intact": True, "others": others}
    )
