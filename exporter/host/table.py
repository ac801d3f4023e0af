"""A table as lines that fit a terminal: no word is broken, and columns give way where it is narrow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import rich.box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP = 2


def fit_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    gives_way: Sequence[str] = (),
) -> tuple[str, list[str]]:
    """The lines of a table, and the names of the columns that are not in it.

    Cells that read as numbers align right. Bold and nothing else on a terminal: that reads on any background.

    Args:
        title: stands above, as it is.
        header: the columns' names; a line break in a name breaks the header there.
        rows: their cells.
        width: columns of the terminal; None for as many as the table takes.
        gives_way: names of columns that may be missing, the first to go first. A last column of words is folded
            between them. What is too wide even so makes longer lines.
    """
    columns = [_Column(name, [row[index] for row in rows]) for index, name in enumerate(header)]
    if columns:
        columns[-1].folds = width is not None and not columns[-1].numeric
    kept = [column for column in columns if column.name not in gives_way]
    for name in reversed(gives_way):
        more = [column for column in columns if column in kept or column.name == name]
        if width is None or _needs(more) <= width:
            kept = more
    least = _needs(kept)
    return _draw(title, kept, least if width is None else max(width, least)), [c.name for c in columns if c not in kept]


class _Column:
    def __init__(self, name: str, cells: Sequence[str]) -> None:
        self.header, self.cells = name, cells
        self.name = " ".join(name.split())
        self.numeric = any(cells) and all(cell.lstrip("(")[:1].isdigit() or cell in ("", "-") for cell in cells)
        self.folds = False

    @property
    def needs(self) -> int:
        """Columns of the terminal, at least."""
        lines = [*self.header.splitlines(), *self.cells]
        parts = [word for line in lines for word in line.split()] if self.folds else lines
        return max((cell_len(part) for part in parts), default=1)


def _needs(columns: Sequence[_Column]) -> int:
    return sum(column.needs for column in columns) + _GAP * (len(columns) - 1)


def _draw(title: str, columns: Sequence[_Column], width: int) -> str:
    lines = max(len(column.header.splitlines()) for column in columns)
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        # Text and not str: brackets in a path or a prompt are no markup.
        side: Literal["left", "right"] = "right" if column.numeric else "left"
        header = Text("\n" * (lines - len(column.header.splitlines())) + column.header, justify=side)
        table.add_column(header, justify=side, no_wrap=not column.folds, min_width=column.needs)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(file=sys.stdout, highlight=False, width=width)
    with console.capture() as drawn:
        console.print(Text(title, style="bold"), soft_wrap=True)
        console.print(table)
    return "".join(line.rstrip() + "\n" for line in drawn.get().splitlines())
