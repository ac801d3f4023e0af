"""The rows of a data file, each with its place, so that a message can name it. Knows formats; not what a row means.

CSV and TSV by the standard library, which counts lines as an editor does; Parquet by pyarrow.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from exporter.host.console import count
from exporter.host.text_file import iter_texts
from poolfold.errors import InputError, TargetUnavailable, how_to_install

FORMATS = ("csv", "tsv", "jsonl", "parquet")
SUFFIXES = tuple(f".{name}" for name in FORMATS)
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_ROWS_AT_ONCE = 4096
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


class Row(NamedTuple):
    """A row: where it stands, for a message, and its values by column."""

    place: str
    values: Mapping[str, Any]


def read_rows(path: Path, file_format: str | None = None) -> tuple[Row, ...]:
    """All that `iter_rows` gives."""
    return tuple(iter_rows(path, file_format))


def iter_rows(
    path: Path, file_format: str | None = None, columns: Sequence[str] | None = None, skip: int = 0
) -> Iterator[Row]:
    """The rows of a file, one after another; the first line of a csv or tsv names its columns.

    Args:
        path: the file.
        file_format: one of FORMATS; None for what its suffix says.
        columns: of a Parquet file, those that are read; None for all. Other formats give all.
        skip: rows that are left out; of a Parquet file most of them are not read.

    Raises:
        InputError: no such file, another format, or a malformed row; names the line.
        TargetUnavailable: a Parquet file without pyarrow.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a file of {', '.join(SUFFIXES)}.")
    match file_format or path.suffix.lower().removeprefix("."):
        case "parquet":
            return _parquet(path, columns, skip)
        case "jsonl":
            return islice(_json_lines(path), skip, None)
        case "csv" | "tsv" as name:
            return islice(_table(path, _DELIMITERS[name]), skip, None)
    raise InputError(
        f"{path} has the suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}. Say what it is with --format."
    )


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    # One by one: a quoted cell may hold line breaks.
    reader = csv.reader((f"{line}\n" for line in iter_texts(path)), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise InputError(f"{path} is empty; expected a first line that names the columns.")
        names = [name.strip() for name in header]
        other = next((c for c in _SEPARATORS if c != delimiter and c in names[0]), None) if len(names) == 1 else None
        if other is not None:
            raise InputError(
                f"{path}, line 1: one column, {names[0]!r}, whose cells seem to be separated by {_SEPARATORS[other]}; "
                f"expected {_SEPARATORS[delimiter]}. Save the file so, or as Parquet or JSON lines."
            )
        if len(set(names)) < len(names):
            raise InputError(f"{path}, line 1: a column comes twice among {', '.join(names)}. Name each once.")
        start = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(names):
                raise InputError(
                    f"{path}, line {start}: got {count(len(cells), 'cell')}, expected {len(names)}: {', '.join(names)}."
                )
            if cells:
                yield Row(f"{path}, line {start}", dict(zip(names, cells, strict=True)))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}. Quote cells that hold quotes or tabs.") from None


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(iter_texts(path), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error}). Expected one object a line.") from None
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number}: got {type(value).__name__}, expected one JSON object a line.")
        yield Row(f"{path}, line {number}", value)


def _parquet(path: Path, columns: Sequence[str] | None, skip: int) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TargetUnavailable(f"{path} needs pyarrow: {how_to_install('bulk')}") from error
    try:
        with parquet.ParquetFile(path) as file:
            groups, number = list(range(file.num_row_groups)), 0
            while groups and number + (rows := file.metadata.row_group(groups[0]).num_rows) <= skip:
                number += rows
                del groups[0]
            for batch in file.iter_batches(_ROWS_AT_ONCE, groups, columns):
                for values in batch.to_pylist():
                    number += 1
                    if number > skip:
                        yield Row(f"{path}, row {number}", values)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}.") from None
