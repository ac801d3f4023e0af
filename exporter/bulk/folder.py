"""The folder of parts. What it belongs to is written beside them, so that nothing else is ever mixed in.

part-<file>-<number>.parquet   an id and an `embedding` a row; whole, or not there
_poolfold.json                 the artifact, the options and the files that the parts came from
.lock                          held by the one process that writes
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from exporter.bulk.job import Job, Part
from poolfold.errors import InputError
from poolfold.sessions.user_cache import write_whole

RECORD, LOCK, EMBEDDING, ROW = "_poolfold.json", ".lock", "embedding", "row"
_PART = "part-*-????????-??????.parquet"


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    """What the parts came from. sources: of each file its bytes, and the nanosecond of its last change."""

    identity: str
    options: dict[str, Any]
    sources: dict[str, tuple[int, int]]


class Folder:
    """A folder of parts, open for writing."""

    def __init__(self, path: Path, record: _Record) -> None:
        """Take a folder that `opened` made ready."""
        self.path, self._record = path, record

    def place(self, part: Part) -> Path:
        """The file of a part."""
        # A file's name may come again in another folder.
        digest = hashlib.sha256(str(part.source).encode()).hexdigest()[:8]
        return self.path / f"part-{part.source.stem}-{digest}-{part.number:06}.parquet"

    def has(self, part: Part) -> bool:
        """Whether a part is there."""
        return self.place(part).is_file()

    def rows(self) -> tuple[int, int]:
        """Rows of all parts, and how many parts there are."""
        from pyarrow import parquet

        parts = list(self.path.glob(_PART))
        return sum(parquet.read_metadata(part).num_rows for part in parts), len(parts)

    def first_missing(self, source: Path) -> int:
        """The number of the first part of a file that is not there."""
        number = 0
        while self.has(Part(source, number)):
            number += 1
        return number


@contextlib.contextmanager
def opened(path: Path, job: Job, identity: str, sources: Sequence[Path], *, force: bool) -> Iterator[Folder]:
    """A folder for the parts of these files, held by this process alone until the block ends.

    Args:
        path: of the folder; made if need be.
        job: what is asked for.
        identity: of the encoder.
        sources: the files.
        force: whether parts of another job are removed.

    Raises:
        InputError: it belongs to another job, a file has changed since, or another process writes there.
    """
    if path.is_dir() and not (path / RECORD).exists() and {entry.name for entry in path.iterdir()} - {LOCK}:
        raise InputError(f"{path} holds other files; expected a new folder, or one of parts. Write elsewhere with -o.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK).open("wb")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}). Write elsewhere with -o.") from None
    with contextlib.closing(lock):
        _hold(path, lock)
        record = _Record(identity, job.decides(), {str(source): _stamp(source) for source in sources})
        known = _known(path)
        if known is not None and known != record and any(path.glob(_PART)):
            if force:
                for part in path.glob(_PART):
                    part.unlink()
            else:
                _require_same(path, known, record)
                record = _Record(identity, record.options, known.sources | record.sources)
        for left in path.glob(f".{_PART}.*"):
            left.unlink()
        write_whole(path / RECORD, lambda file: file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n"))
        yield Folder(path, record)


def write_part(place: Path, vectors: Any, ids: Sequence[Any], id_name: str) -> None:
    """Write the rows of a part, whole or not at all, and onto the disk.

    Args:
        place: the file.
        vectors: [rows, values], of any type of numbers.
        ids: of each row.
        id_name: the column's.
    """
    import pyarrow
    from pyarrow import parquet

    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
    table = pyarrow.table({id_name: pyarrow.array(ids), EMBEDDING: values})

    def write(file: BinaryIO) -> None:
        # Vectors do not repeat: a dictionary or an encoding of them only takes time.
        parquet.write_table(table, file, use_dictionary=[id_name], compression="zstd")
        file.flush()
        os.fsync(file.fileno())

    write_whole(place, write)


def _hold(path: Path, lock: BinaryIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"another process writes into {path}. Wait for its end, or write elsewhere with -o.") from None


def _known(path: Path) -> _Record | None:
    try:
        return msgspec.json.decode((path / RECORD).read_bytes(), type=_Record)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path / RECORD} cannot be read ({error}). Pass --force to begin anew.") from None


def _require_same(path: Path, known: _Record, record: _Record) -> None:
    anew = "Write elsewhere with -o, or pass --force to begin anew."
    if known.identity != record.identity:
        raise InputError(f"{path} holds vectors of another artifact, strategy or precision. {anew}")
    for name, was in known.options.items():
        now = record.options.get(name)
        if was != now:
            raise InputError(f"{path} was made with {_option(name)} {was}, and now it is {now}. {anew}")
    _require_unchanged(path, known.sources, record.sources, anew)


def _require_unchanged(
    path: Path, known: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]], anew: str
) -> None:
    for source, stamp in known.items():
        if source not in now:
            raise InputError(f"{path} has parts of {source}, which is not among the files now. {anew}")
        if tuple(stamp) != now[source]:
            raise InputError(f"{source} has changed since {path} was begun, so that its parts may not fit. {anew}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _stamp(source: Path) -> tuple[int, int]:
    status = source.stat()
    return status.st_size, status.st_mtime_ns
