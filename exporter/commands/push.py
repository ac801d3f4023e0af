"""`poolfold push`: an artifact to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click

from exporter import api
from exporter.commands import flags
from exporter.host.console import Console, count


@click.command(
    epilog=flags.examples(
        "poolfold push artifacts/minilm me/minilm-poolfold", "poolfold push artifacts/minilm me/minilm --private"
    )
)
@click.argument("directory", type=flags.FOLDER, metavar="DIR")
@click.argument("repo")
@click.option("--revision", metavar="R", help="The branch; made where there is none.  [default: the repository's]")
@click.option("--private", is_flag=True, help="Make a repository that is new a private one.")
@click.option("--force", is_flag=True, help="Replace files of the same names where REPO holds another model.")
@flags.as_json
@flags.quiet
def push(
    directory: Path, repo: str, *, revision: str | None, private: bool, force: bool, as_json: bool, quiet: bool
) -> None:
    """Push an artifact, DIR, to the Hugging Face hub.

    In one commit, after a check of every file. REPO is owner/name, and made where there is none;
    `poolfold.load("owner/name")` then loads it.
    """
    console = Console(as_json=as_json, quiet=quiet)
    with console.waiting("push"):
        manifest, commit = api.push(directory, repo, revision=revision, private=private, force=force)
    size = sum(file.bytes for file in manifest.files)
    console.line(f"{repo}: {count(len(manifest.files), 'file')}, {size / 2**20:.1f} MiB, at {commit[:12]}")
    console.json({"directory": str(directory), "repo": repo, "commit": commit, "files": len(manifest.files)})
