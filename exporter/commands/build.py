"""`poolfold build`: engines from an artifact's graphs, added to it and published whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporter.commands.artifact_table import as_json as artifact_json
from exporter.commands.artifact_table import print_engines, print_table
from exporter.host.console import Console
from exporter.host.text_file import read_texts
from exporter.pipeline.add_engines import BuildRequest, build_into
from exporter.spec.build_options import read_build_options
from exporter.spec.model import DType


def run(
    *,
    directory: Path,
    output: Path | None,
    target: tuple[str, ...],
    strategy: tuple[str, ...],
    dtype: tuple[str, ...],
    texts: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Build, and say what the artifact now holds."""
    options, left = read_build_options(given, target)
    console = Console(as_json=as_json, quiet=quiet)
    request = BuildRequest(
        directory=directory,
        output=output or directory,
        targets=tuple(dict.fromkeys(target)),
        strategies=tuple(dict.fromkeys(strategy)),
        dtypes=tuple(DType(name) for name in dict.fromkeys(dtype)),
        texts=read_texts(texts) if texts else (),
        options=options,
        **left,
    )
    manifest = build_into(request, console)
    print_table(manifest, request.output, console)
    print_engines(manifest, console)
    console.json(artifact_json(manifest, request.output))
