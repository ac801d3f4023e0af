"""The only place that writes to the terminal: results to stdout, narration to stderr.

On a terminal a running stage shows a progress bar, its downloads included; elsewhere each stage is a line when it
begins, one when it ends, and one now and then between, for a log. There is never more than one bar. With `--json`
stdout holds one JSON object and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from exporter.host.width import terminal_width, wrap
from poolfold.hub import downloads_tell


class Stage:
    """A running stage: its progress, and the `outcome` that is printed when it ends."""

    def __init__(self, console: Console, bar: Any, task: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._bar, self._task, self._clock = console, bar, task, clock
        self._began, self._expected, self._detail = clock(), 0.0, ""
        self.outcome = ""

    def progress(self, done: float, total: float, detail: str = "") -> None:
        """Say how far it is: the bar of a terminal moves, and elsewhere the next line of the log tells it."""
        self._detail = detail
        if done > 0:
            self._expected = (self._clock() - self._began) * total / done
        if self._bar is not None:
            # Never quite all: clock and spinner of a full bar stand still, and a further round may follow.
            self._bar.update(self._task, completed=min(done, 0.999 * total), total=total, detail=self._shown())

    def expect(self, seconds: float) -> None:
        """Say about how long it takes in all, where it cannot say how far it is."""
        self._expected = seconds
        if self._bar is not None:
            self._bar.update(self._task, detail=f"about {duration(seconds)} in all" if seconds >= _TOLD_S else "")

    def sign_of_life(self) -> str:
        """How long it has run, what it does, and how much longer that may take: a line of a log."""
        spent = self._clock() - self._began
        return ", ".join(part for part in (duration(spent), self._shown()) if part)

    def _shown(self) -> str:
        left = self._expected - (self._clock() - self._began)
        told = f"about {duration(left)} left" if left >= 1 and self._expected >= _TOLD_S else ""
        return ", ".join(part for part in (self._detail, told) if part)

    def downloaded(self, done: int, total: int) -> None:
        """Move the bar by bytes that came from the hub."""
        self.progress(done, total, f"fetched {done / 2**20:.1f} of {total / 2**20:.1f} MiB")

    def warn(self, message: str) -> None:
        """Print a warning; the work goes on."""
        self._console.warn(message)


class Console:
    """Writes results and narration.

    `quiet` leaves the result, warnings and errors. With `wide` a table has all its columns, whatever the terminal.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, wide: bool = False) -> None:
        self.as_json, self._quiet, self._wide = as_json, quiet, wide

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Narrate one stage; set `outcome` on the yielded stage before the block ends."""
        started = time.perf_counter()
        head = f"{name:<{_NAME}} "
        with self.waiting(name) as stage, self._logged(head, stage):
            yield stage
        if not self._quiet:
            said = f"{stage.outcome}  ({time.perf_counter() - started:.1f} s)"
            if sys.stderr.isatty():
                room = max(1, terminal_width(sys.stderr) - len(head))
                said = wrap(said, room).replace("\n", "\n" + " " * len(head))
            sys.stderr.write(f"{head}{said}\n")
            sys.stderr.flush()

    @contextmanager
    def _logged(self, head: str, stage: Stage) -> Iterator[None]:
        """Where no terminal shows a bar, a line now, and one now and then while the block runs."""
        if self._quiet or sys.stderr.isatty():
            yield
            return
        ended = threading.Event()

        def tell() -> None:
            while not ended.wait(_EVERY_S):
                sys.stderr.write(f"{head}... {stage.sign_of_life()}\n")
                sys.stderr.flush()

        sys.stderr.write(f"{head}...\n")
        sys.stderr.flush()
        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()

    @contextmanager
    def waiting(self, name: str) -> Iterator[Stage]:
        """Show on a terminal that something is being done; nothing is left of it when the block ends."""
        shows = not self._quiet and sys.stderr.isatty()
        with _bar(name) if shows else nullcontext((None, None)) as (bar, task):
            stage = Stage(self, bar, task)
            with downloads_tell(stage.downloaded):
                yield stage

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to another process, which shows its own progress, while the block runs."""
        shown = tuple(_shown)
        for bar in shown:
            bar.stop()
        try:
            yield
        finally:
            for bar in shown:
                bar.start()

    def warn(self, message: str) -> None:
        """Print a warning on stderr."""
        self._say("warning", "magenta", message)

    def error(self, message: str) -> None:
        """Print an error on stderr."""
        self._say("error", "red", message)

    def _say(self, kind: str, style: str, message: str) -> None:
        """Coloured on a terminal; elsewhere plain, and without the time that loading rich takes."""
        if sys.stderr.isatty():
            from rich.text import Text

            console = _shown[-1].console if _shown else _stderr()
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

    def note(self, text: str) -> None:
        """Print a remark on the result, folded between words, unless the result is JSON."""
        if not self.as_json:
            _write(wrap(text, terminal_width(), "  ") + "\n")

    def table(
        self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, gives_way: Sequence[str] = ()
    ) -> list[str]:
        """Print a table of the result, unless the result is JSON; as `fit_table`.

        Returns:
            The names of the columns that the terminal was too narrow for.
        """
        if self.as_json:
            return []
        from exporter.host.table import fit_table

        width = None if self._wide else terminal_width()
        lines, left_out = fit_table(wrap(title, terminal_width()), header, rows, width, gives_way)
        _write(lines)
        return left_out


def _write(text: str) -> None:
    """Write to stdout. A reader that went away (`| head`) wants no more, and changes nothing of the command's end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def count(number: int, what: str) -> str:
    """A number of things: `1 engine`, `2 engines`."""
    return f"{number} {what}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """For people: `40 s`, `3 min`, `2 h`."""
    if seconds < _MOST_SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 60 * _MOST_SECONDS else f"{seconds / 3600:.0f} h"


_NAME = 10
"""Columns of a stage's name."""
_EVERY_S = 30.0
"""Between two lines of a log about one stage."""
_TOLD_S = 5.0
"""A stage of less ends before anyone reads how long it will take."""
_MOST_SECONDS = 100

_shown: list[Any] = []
"""The bar on the terminal; two would write over each other."""


@contextmanager
def _bar(name: str) -> Iterator[tuple[Any, Any]]:
    """A bar, and the task in it; a stage within a stage takes its place in the same bar."""
    if _shown:
        bar = _shown[-1]
        outer = bar.task_ids[-1]
        bar.update(outer, visible=False)
        task = bar.add_task(name, total=None, detail="")
        try:
            yield bar, task
        finally:
            bar.remove_task(task)
            bar.update(outer, visible=True)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (SpinnerColumn(), TextColumn(f"{{task.description:<{_NAME}}}"), BarColumn(16), TimeElapsedColumn())
    # One line, whatever is said: a bar of two would leave the first behind.
    one_line = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    detail = TextColumn("{task.fields[detail]}", markup=False, table_column=one_line)
    shown = Progress(
        *(*columns, detail),
        console=_stderr(),
        transient=True,
        expand=True,
        refresh_per_second=5,
        redirect_stdout=False,  # what is written there is the result, whoever reads it
    )
    with shown as bar:
        _shown.append(bar)
        try:
            yield bar, bar.add_task(name, total=None, detail="")
        finally:
            _shown.pop()


def _stderr() -> Any:
    import rich.console
    from rich.theme import Theme

    # Neither yellow nor grey, which one background or the other swallows.
    theme = Theme({"progress.elapsed": "default", "bar.back": "bright_black"})
    return rich.console.Console(file=sys.stderr, highlight=False, emoji=False, theme=theme)
