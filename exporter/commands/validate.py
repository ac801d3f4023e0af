"""`poolfold validate`: what an artifact runs on a target against the model it came from again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from exporter import api
from exporter.commands import flags
from exporter.commands.artifact_table import at_least
from exporter.host.console import Console
from exporter.host.libraries import keep_out
from exporter.host.text_file import read_texts
from exporter.spec.origin import origin_of
from poolfold.errors import CheckFailed
from poolfold.manifest import read_manifest

if TYPE_CHECKING:
    from exporter.parity.report import ParityReport


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
@flags.proving
@click.option("--model", metavar="MODEL", help="Where the model is now.  [default: the hub id that DIR has]")
@flags.threads
@flags.pickle
@flags.remote
@flags.as_json
@flags.quiet
def validate(
    directory: Path, model: str | None, texts: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Check the vectors of DIR against its model again.

    What DIR runs on a target, against the model it came from, through the loader that ships.
    """
    console = Console(as_json=as_json, quiet=quiet)
    own = read_texts(texts)
    stored = read_manifest(directory).model
    source, limit = model or stored.source, stored.text.max_seq_length
    keep_out(*origin_of(source).without)
    with console.waiting("validate"):
        reports = api.validate(directory, model=model, texts=own, console=console, **options)
    up_to = max((report.up_to for report in reports), default=None)
    of = "" if up_to is None or up_to >= limit else f", up to {up_to} of {limit} tokens"
    _print(reports, f"{directory} against {source}{of}", console)
    passed = all(report.passed for report in reports)
    rows = [report.as_row() for report in reports]
    console.json(
        {
            "directory": str(directory),
            "passed": passed,
            "validated_up_to": up_to,
            "parity": [msgspec.to_builtins(row) for row in rows],
        }
    )
    if not passed:
        # Not raised: with --json the object above is the answer.
        console.error("\n".join(report.explain() for report in reports if not report.passed))
        raise click.exceptions.Exit(CheckFailed.exit_code)


def _print(reports: Sequence[ParityReport], title: str, console: Console) -> None:
    """One row a candidate, the worst text in each figure; below it the checks that failed."""
    from exporter.parity.report import MASKED, SAME_TEXT

    rows = []
    for report in reports:
        ran, values = report.executor, {check.name: check.value for check in report.checks}
        form = "rehearsal" if ran.rehearsed else ran.form
        rows.append([
            report.strategy, report.dtype, f"{ran.target} {ran.device}", form, "passed" if report.passed else "FAILED",
            at_least(values["cosine"]), f"{values['difference']:.1e}", f"{values['neighbours']:.3f}",
            *(_least([values[name] for name in names if name in values]) for names in (SAME_TEXT, MASKED)),
        ])  # fmt: skip
    header = ("strategy", "dtype", "target", "form", "result", "cosine\nat least")
    numbers = ("largest\ndifference", "top-10\nshared", "any batch\ncosine", "masked ids\ncosine")
    gives_way = [name.replace("\n", " ") for name in reversed(numbers)]
    left_out = console.table(title, (*header, *numbers), rows, gives_way=gives_way)
    for report in reports:
        for check in (check for check in report.checks if not check.passed):
            what = f"{report.strategy} {report.dtype} on {report.executor}: {check.name}"
            console.note(f"FAILED {what} {check.value:.7g}, expected {check.bound} {check.limit:.7g}.")
    if any(report.executor.rehearsed for report in reports):
        console.note("rehearsal: the fp16 graph in fp32, with each fp16 tensor rounded.")
    for name, meaning in _MEANINGS.items():
        if name not in left_out:
            console.note(f"{name}: {meaning}")
    if left_out:
        console.note(f"Too wide for this terminal: {', '.join(left_out)}. --json has every check.")


_MEANINGS = {
    "cosine at least": "with the model's own vector, of the worst text.",
    "largest difference": "of any value, both vectors at unit length.",
    "top-10 shared": "the share of a text's ten nearest neighbours that are the same.",
    "any batch cosine": "of a text alone with itself in another batch, order and padding.",
    "masked ids cosine": "of a text with itself, whatever stands under mask 0.",
}
"""Columns, and what they show."""


def _least(values: Sequence[float]) -> str:
    return at_least(min(values)) if values else "-"
