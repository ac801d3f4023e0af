"""All parts in this process, one after another: what is held does not grow with what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.bulk.folder import Folder
from exporter.bulk.inputs import pieces
from exporter.bulk.job import ROWS, Job, Part
from exporter.bulk.parts import embed_part
from exporter.host.text_column import Record
from poolfold.encoder import Encoder


def embed_all(
    encoder: Encoder, job: Job, folder: Folder, sources: Sequence[Path], tell: Callable[[float, int], None]
) -> int:
    """Embed what is missing.

    Args:
        encoder: the artifact's.
        job: what is asked for.
        folder: where parts go.
        sources: the files.
        tell: told how much of all is done, from 0 to 1, and how many texts were embedded.

    Returns:
        How many texts were embedded now.
    """
    sizes = [max(1, source.stat().st_size) for source in sources]
    made, before = 0, 0
    for source, size in zip(sources, sizes, strict=True):
        first = folder.first_missing(source)
        for number, records in pieces(source, job, first):
            part = Part(source, number)
            if not folder.has(part):
                embed_part(encoder, job, folder, part, records)
                made += len(records)
            # How many records a file has shows at its end: till then a part is taken for the share that it would be
            # of one as long as those before it.
            share = min(1.0, _share(source, size, number, records))
            tell((before + share * size) / sum(sizes), made)
        before += size
    return made


def _share(source: Path, size: int, number: int, records: Sequence[Record]) -> float:
    """About how much of a file is behind this part."""
    if source.suffix.lower() == ".parquet":
        from pyarrow import parquet

        return (number * ROWS + len(records)) / max(1, int(parquet.read_metadata(source).num_rows))
    mean = sum(len(record.text.encode()) + 1 for record in records) / len(records)
    return (number * ROWS + len(records)) * mean / size
