"""The texts of any file that a user has: a table's column, one text a record; or lines, one text a line.

A file that is neither is refused: read by its lines, a record format gives vectors of fragments.
"""

from __future__ import annotations

from pathlib import Path

from exporter.host.rows import SUFFIXES, read_rows
from exporter.host.text_file import STREAM, read_texts
from poolfold.errors import InputError

_LINES = ("", ".txt", ".text", ".md")
_USUAL = ("text", "sentence", "body")


def read_texts_or_column(path: Path, column: str | None = None) -> tuple[str, ...]:
    """The texts of a file, in its order.

    Args:
        path: `-` for standard input, which holds lines.
        column: of a table; None for the first of text, sentence and body that it has, or its only one.

    Raises:
        InputError: as `read_texts` and `read_rows`; a suffix of neither; a column for a file of lines; no such column,
            or several to choose from; a record whose value is no text, named by its place.
        TargetUnavailable: a Parquet file without pyarrow.
    """
    suffix = "" if path == STREAM else path.suffix.lower()
    if suffix in _LINES:
        if column is not None:
            raise InputError(f"{path} holds lines, and column {column!r} was asked for. Leave --column out.")
        return read_texts(path)
    if suffix not in SUFFIXES:
        lines = ", ".join(filter(None, _LINES))
        raise InputError(
            f"{path} has the suffix {path.suffix!r}; expected records in {', '.join(SUFFIXES)}, or one text a line in "
            f"{lines}. If it does hold one text a line, pass it through -i - < {path.name}."
        )
    rows = read_rows(path)
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    name = _choose(path, columns, column) if rows else ""
    texts = []
    for row in rows:
        text = row.values.get(name)
        if not isinstance(text, str):
            raise InputError(f"{row.place}: {name} is {text!r}; expected a text. Mend the record, or take it out.")
        texts.append(text)
    return tuple(texts)


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
