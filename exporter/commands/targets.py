"""`poolfold targets`: what can run here, in which version, and why the rest cannot."""

from __future__ import annotations

import dataclasses

from exporter.host.console import Console
from exporter.targets import availability


def run(*, as_json: bool) -> None:
    """Never fails: an unavailable target is a line of the answer."""
    found = availability()
    console = Console(as_json=as_json)
    console.table(
        "Targets",
        ("target", "here", "version", "what it does here"),
        [(t.name, "yes" if t.available else "no", t.version or "-", t.reason or t.does) for t in found],
    )
    console.json({"targets": [dataclasses.asdict(target) for target in found]})
