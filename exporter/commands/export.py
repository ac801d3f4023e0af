"""`poolfold export`: the whole flow, then one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporter.artifact.publish import require_apart
from exporter.commands.artifact_table import as_json as artifact_json
from exporter.commands.artifact_table import print_table
from exporter.host.console import Console
from exporter.host.text_file import read_texts
from exporter.pipeline.export_model import export_model
from exporter.spec.build_options import read_build_options
from exporter.spec.model import DType
from exporter.spec.options import ExportOptions


def run(
    *,
    dtype: tuple[str, ...],
    target: tuple[str, ...],
    texts: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Export, and say what came of it."""
    require_apart(options["output"], [Path(options["model"]), *([texts] if texts else [])])
    console = Console(as_json=as_json, quiet=quiet)
    build, options = read_build_options(options, target)
    manifest = export_model(
        ExportOptions(
            dtypes=tuple(DType(name) for name in dict.fromkeys(dtype)),
            targets=tuple(dict.fromkeys(target)),
            texts=read_texts(texts) if texts else (),
            build=build,
            **options,
        ),
        console,
    )
    print_table(manifest, options["output"], console)
    console.json(artifact_json(manifest, options["output"]))
