"""The texts of any file that a user has: a table's column, one text a record; or lines, one text a line.

A file that is neither is refused: read by its lines, a record format gives vectors of fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from exporter.host.rows import SUFFIXES, iter_rows
from exporter.host.text_file import STREAM, iter_texts
from poolfold.errors import InputError

_LINES = ("", ".txt", ".text", ".md")
_FIRST = 1000
_USUAL = ("text", "sentence", "body")


class Record(NamedTuple):
    """A text of a file: where it stands, for a message, and its id; None where no column holds one."""

    place: str
    id: Any
    text: str


def read_texts_or_column(path: Path, column: str | None = None) -> tuple[str, ...]:
    """The texts that `iter_records` gives."""
    return tuple(record.text for record in iter_records(path, column))


def iter_records(
    path: Path, column: str | None = None, id_column: str | None = None, skip: int = 0
) -> Iterator[Record]:
    """The texts of a file, in its order, one after another.

    Args:
        path: `-` for standard input, which holds lines.
        column: of a table; None for the first of text, sentence and body that it has, or its only one but `id_column`.
        id_column: whose values are the ids; None for no ids.
        skip: records that are left out.

    Raises:
        InputError: as `iter_texts` and `iter_rows`; a suffix of neither; a column for a file of lines; no such column,
            or several to choose from; a record whose value is no text, or which has no id, named by its place.
        TargetUnavailable: a Parquet file without pyarrow.
    """
    suffix = "" if path == STREAM else path.suffix.lower()
    if suffix in _LINES:
        for option, name in (("--column", column), ("--id-column", id_column)):
            if name is not None:
                raise InputError(f"{path} holds lines, and column {name!r} was asked for. Leave {option} out.")
        lines = enumerate(iter_texts(path), start=1)
        return (Record(f"{path}, line {number}", None, text) for number, text in islice(lines, skip, None))
    if suffix not in SUFFIXES:
        lines_suffixes = ", ".join(filter(None, _LINES))
        raise InputError(
            f"{path} has the suffix {path.suffix!r}; expected records in {', '.join(SUFFIXES)}, or one text a line in "
            f"{lines_suffixes}. If it does hold one text a line, pass it through -i - < {path.name}."
        )
    return _of_table(path, column, id_column, skip)


def _of_table(path: Path, column: str | None, id_column: str | None, skip: int) -> Iterator[Record]:
    # Of JSON lines the columns show row by row; those of the first ones must do.
    first = list(islice(iter_rows(path), _FIRST))
    columns = list(dict.fromkeys(name for row in first for name in row.values))
    if not first:
        return
    name = _choose(path, [name for name in columns if name != id_column or name == column], column)
    if id_column is not None:
        _choose(path, columns, id_column)
    wanted = [name] if id_column is None else list(dict.fromkeys((name, id_column)))
    for row in iter_rows(path, columns=wanted, skip=skip):
        text, number = row.values.get(name), None if id_column is None else row.values.get(id_column)
        if not isinstance(text, str):
            raise InputError(f"{row.place}: {name} is {text!r}; expected a text. Mend the record, or take it out.")
        if id_column is not None and number is None:
            raise InputError(
                f"{row.place}: {id_column} is {number!r}; expected an id. Mend the record, or take it out."
            )
        yield Record(row.place, number, text)


def _choose(path: Path, columns: list[str], column: str | None) -> str:
    """The column to read."""
    if column is not None:
        if column not in columns:
            raise InputError(f"{path} has no column {column!r}; it has {', '.join(columns)}. Name one of them.")
        return column
    usual = next((name for name in _USUAL if name in columns), None)
    if usual is None and len(columns) != 1:
        raise InputError(f"{path} has the columns {', '.join(columns)}; say with --column which one holds the texts.")
    return usual or columns[0]
