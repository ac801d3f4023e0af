"""`poolfold validate`: what an artifact runs on a target against the model it came from again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from exporter import api
from exporter.commands import flags
from exporter.host.console import Console
from exporter.host.libraries import keep_out
from exporter.host.text_file import read_texts
from exporter.spec.origin import origin_of
from poolfold.errors import CheckFailed
from poolfold.manifest import read_manifest


@flags.defaults_of(api.validate)
@click.command(
    epilog=flags.examples(
        "poolfold validate artifacts/minilm",
        "poolfold validate artifacts/mine --model ./checkpoint --texts mine.txt",
    )
)
@flags.artifact
@click.option("--target", type=flags.TARGETS, help="Check what runs on this target.")
@flags.provider
@flags.texts
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: the hub id that DIR has]")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def validate(
    directory: Path, model: str | None, texts: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Check what DIR runs on a target again: against the model it came from, through the loader that ships."""
    console = Console(as_json=as_json, quiet=quiet)
    own = read_texts(texts)
    source = model or read_manifest(directory).model.source
    keep_out(*origin_of(source).without)
    reports = api.validate(directory, model=model, texts=own, console=console, **options)
    console.table(
        f"{directory} against {source}",
        ("strategy", "dtype", "executor", "check", "value", "limit", "result"),
        [
            (r.strategy, r.dtype, str(r.executor), c.name, f"{c.value:.7g}",
             "-" if c.limit is None else f"{c.bound} {c.limit:.7g}", _result(c.passed, c.limit))
            for r in reports
            for c in r.checks
        ],
    )  # fmt: skip
    passed = all(report.passed for report in reports)
    rows = [report.as_row() for report in reports]
    console.json({"directory": str(directory), "passed": passed, "parity": [msgspec.to_builtins(row) for row in rows]})
    if not passed:
        # Not raised: with --json the object above is the answer.
        console.error("\n".join(report.explain() for report in reports if not report.passed))
        raise click.exceptions.Exit(CheckFailed.exit_code)


def _result(passed: bool, limit: float | None) -> str:
    return "reported" if limit is None else "passed" if passed else "FAILED"
