"""A bar on standard error, for callers who ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[int], None]
"""Takes the number of texts done so far."""


@contextmanager
def progress_bar(total: int | None, *, show: bool) -> Iterator[Tell | None]:
    """What is to be told of the texts that are done; None where nothing is shown.

    total: how many there are; None where that shows only in the end.
    """
    if not show:
        yield None
        return
    # Imported here: it takes longer than all of poolfold.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("texts"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("texts", total=total)
        yield lambda done: bar.update(task, completed=done)


def both(*tells: Tell | None) -> Tell | None:
    """One that tells all of these; None where there is none."""
    known = [tell for tell in tells if tell is not None]
    if len(known) < 2:
        return known[0] if known else None

    def tell(done: int) -> None:
        for one in known:
            one(done)

    return tell
