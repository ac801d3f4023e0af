"""The graph of an artifact that gives the vectors of tokens: on the CPU and in fp32, whatever else is loaded."""

from __future__ import annotations

from pathlib import Path

import msgspec

from poolfold.manifest import USUAL_RUN_MEMORY, Manifest, Portable, RunMemory
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.verify import open_part


def token_run_memory(manifest: Manifest) -> RunMemory:
    """What a run of it takes: it holds every score."""
    known = next((graph.run_memory for graph in manifest.graphs if graph.run_memory is not None), USUAL_RUN_MEMORY)
    return msgspec.structs.replace(known, slice=0)


def open_token_graph(
    directory: Path, manifest: Manifest, graph: Portable, *, threads: int | None, spinning: bool, check: bool
) -> OnnxRuntimeSession:
    """Open it; `check`: whether its files are hashed.

    Raises:
        PoolfoldError: as `open_part` and `OnnxRuntimeSession`.
    """
    paths = [path for path in (graph.path, graph.weights) if path is not None]
    files = {directory / path: file for path, file in open_part(directory, manifest, paths, check=check).items()}
    return OnnxRuntimeSession(
        directory / graph.path,
        threads=threads,
        spinning=spinning,
        run_memory=token_run_memory(manifest),
        open_file=lambda path: files[path],
    )
