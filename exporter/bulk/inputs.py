"""Patterns -> files, and a file's records from any of its parts on."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from exporter.bulk.job import ROWS, Job
from exporter.host.text_column import Record, iter_records
from poolfold.errors import InputError


def files_of(pattern: Path) -> tuple[Path, ...]:
    """The files of a pattern such as `texts/*.parquet`, by name; `**` is any number of folders.

    Raises:
        InputError: there is none.
    """
    if pattern.is_file():
        return (pattern,)
    found = sorted(path for path in map(Path, glob.glob(str(pattern), recursive=True)) if path.is_file())  # noqa: PTH207
    if not found:
        folder = f" It is a folder: name its files, as in '{pattern}/*.parquet'." if pattern.is_dir() else ""
        raise InputError(f"{pattern} is no file and no pattern of any.{folder}")
    return tuple(found)


def pieces(source: Path, job: Job, first: int) -> Iterator[tuple[int, list[Record]]]:
    """The records of a file by its parts, from part `first` on; an empty part at its end where nothing is left."""
    records, number = iter_records(source, job.column, job.id_column, skip=first * ROWS), first
    while piece := list(islice(records, ROWS)):
        yield number, piece
        number += 1


def count_parts(source: Path, job: Job) -> int:
    """Parts of a file. All of it is read, but a Parquet file's rows."""
    if source.suffix.lower() == ".parquet":
        from pyarrow import parquet

        next(iter_records(source, job.column, job.id_column), None)  # columns that are not there are told here
        return -(-int(parquet.read_metadata(source).num_rows) // ROWS)
    return -(-sum(1 for _ in iter_records(source, job.column, job.id_column)) // ROWS)
