"""The only place that writes to the terminal: results to stdout, narration to stderr.

On a terminal a running stage shows a progress bar; elsewhere each stage is one line when it ends. With `--json` stdout
holds one JSON object and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class Stage:
    """A running stage: its progress, and the `outcome` that is printed when it ends."""

    def __init__(self, console: Console, bar: Any, task: Any) -> None:
        self._console, self._bar, self._task = console, bar, task
        self.outcome = ""

    def progress(self, done: float, total: float, detail: str = "") -> None:
        """Move the bar on a terminal; elsewhere nothing is printed."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, detail=detail)

    def warn(self, message: str) -> None:
        """Print a warning; the work goes on."""
        self._console.warn(message)


class Console:
    """Writes results and narration. `quiet` leaves warnings and errors only."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self._quiet = as_json, quiet
        self._bar: Any = None

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Narrate one stage; set `outcome` on the yielded stage before the block ends."""
        started = time.perf_counter()
        if self._quiet or not sys.stderr.isatty():
            stage = Stage(self, None, None)
            yield stage
        else:
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description:<10}"), BarColumn(24), TimeElapsedColumn())
            detail = TextColumn("{task.fields[detail]}", markup=False)
            with Progress(*columns, detail, console=_stderr(), transient=True) as bar:
                stage = Stage(self, bar, bar.add_task(name, total=None, detail=""))
                self._bar = bar
                try:
                    yield stage
                finally:
                    self._bar = None
        if not self._quiet:
            sys.stderr.write(f"{name:<10} {stage.outcome}  ({time.perf_counter() - started:.1f} s)\n")
            sys.stderr.flush()

    def warn(self, message: str) -> None:
        """Print a warning on stderr."""
        self._say("warning", "yellow", message)

    def error(self, message: str) -> None:
        """Print an error on stderr."""
        self._say("error", "red", message)

    def _say(self, kind: str, style: str, message: str) -> None:
        """Coloured on a terminal; elsewhere plain, and without the time that loading rich takes."""
        if sys.stderr.isatty():
            from rich.text import Text

            console = self._bar.console if self._bar is not None else _stderr()
            console.print(Text.assemble((kind, style), ": ", message), soft_wrap=True)
        else:
            sys.stderr.write(f"{kind}: {message}\n")
            sys.stderr.flush()

    def line(self, text: str) -> None:
        """Print a line of the result, unless the result is JSON."""
        if not self.as_json:
            _write(text + "\n")

    def json(self, value: Mapping[str, Any]) -> None:
        """Print the result as one JSON object, if JSON was asked for."""
        if self.as_json:
            # ASCII only: stdout may have any encoding, and a path may hold what none has.
            _write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table of the result, unless the result is JSON. Cells that read as numbers align right."""
        if self.as_json:
            return
        import rich.box
        from rich.table import Table
        from rich.text import Text

        # Text and not str: brackets in a path or a prompt are no markup.
        table = Table(title=Text(title, "table.title"), title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(header):
            numeric = all(row[index][:1].isdigit() or row[index] in ("", "-") for row in rows)
            table.add_column(name, justify="right" if numeric else "left", no_wrap=index < 2, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console = _stdout()
        with console.capture() as rendered:
            console.print(table)
        _write(rendered.get())


def _write(text: str) -> None:
    """Write to stdout. A reader that went away (`| head`) wants no more, and changes nothing of the command's end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stdout() -> Any:
    import rich.console

    # A pipe has no width: leave room for whole rows instead of folding them at 80 columns.
    width = None if sys.stdout.isatty() else 200
    return rich.console.Console(file=sys.stdout, highlight=False, width=width)


def _stderr() -> Any:
    import rich.console

    return rich.console.Console(file=sys.stderr, highlight=False, emoji=False)
