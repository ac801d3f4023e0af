"""A part of a file -> its vectors -> a file of the folder."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.bulk.folder import ROW, Folder, write_part
from exporter.bulk.job import ROWS, Job, Part
from exporter.host.text_column import Record
from poolfold.encoder import Encoder
from poolfold.errors import CheckFailed, InputError


def embed_part(encoder: Encoder, job: Job, folder: Folder, part: Part, records: Sequence[Record]) -> None:
    """Write the vectors of a part's records.

    Raises:
        InputError: a text is refused; names its place in the file.
        CheckFailed: a vector is none; the same.
    """
    texts = [record.text for record in records]
    try:
        vectors = encoder.encode(texts, **job.encode())
    except (InputError, CheckFailed) as error:
        raise _placed(encoder, job, records, error) from None
    write_part(folder.place(part), vectors, ids_of(part, records), job.id_column or ROW)


def ids_of(part: Part, records: Sequence[Record]) -> list[object]:
    """The ids of records; of a file without them its name and the row's number, counted from 0."""
    first = part.number * ROWS
    return [f"{part.source}#{first + i}" if r.id is None else r.id for i, r in enumerate(records)]


def _placed(
    encoder: Encoder, job: Job, records: Sequence[Record], error: InputError | CheckFailed
) -> InputError | CheckFailed:
    """The error with the place of the record that makes it, found by halves."""
    low, high = 0, len(records)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _fails(encoder, job, records[low:middle]) else (middle, high)
    if not _fails(encoder, job, records[low:high]):
        return error  # no single text: an option
    kept = "Mend the record, or take it out; parts that are done stay, unless their file changes."
    return type(error)(f"{records[low].place}: {error} {kept}")


def _fails(encoder: Encoder, job: Job, records: Sequence[Record]) -> bool:
    try:
        encoder.encode([record.text for record in records], **job.encode())
    except (InputError, CheckFailed):
        return True
    return False
