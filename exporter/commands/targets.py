"""`poolfold targets`: what can run here, in which version, and why the rest cannot."""

from __future__ import annotations

import dataclasses

import click

from exporter.commands import flags
from exporter.host.console import Console
from exporter.targets import availability


@click.command(epilog=flags.examples("poolfold targets", "poolfold targets --json"))
@flags.as_json
@flags.quiet
def targets(*, as_json: bool, quiet: bool) -> None:
    """List what can run artifacts here.

    Each target with its version, or with the reason why it does not work.
    """
    console = Console(as_json=as_json, quiet=quiet)
    with console.waiting("targets"):
        availabilities = availability()
    console.table(
        "Targets",
        ("target", "here", "version", "what it does here"),
        [(t.name, "yes" if t.available else "no", t.version or "-", t.reason or t.does) for t in availabilities],
    )
    console.json({"targets": [dataclasses.asdict(target) for target in availabilities]})
