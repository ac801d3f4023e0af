"""`poolfold verify`: every file of an artifact against its manifest."""

from __future__ import annotations

from pathlib import Path

from exporter.host.console import Console
from poolfold.verify import verify


def run(*, directory: Path, as_json: bool) -> None:
    """Raise ArtifactError where a file differs."""
    manifest = verify(directory)
    size = sum(file.bytes for file in manifest.files)
    console = Console(as_json=as_json)
    console.line(f"{directory}: {len(manifest.files)} files, {size / 2**20:.1f} MiB, all as the manifest says")
    console.json({"directory": str(directory), "files": len(manifest.files), "bytes": size, "intact": True})
