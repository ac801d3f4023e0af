"""Open a file of an artifact once, so that the bytes that were hashed are the bytes that are used.

A file is read into memory, or mapped: then its pages are shared between processes and read when they are needed, and
`require_unchanged` notices a file that is written or cut while it is in use.
"""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import os
import stat
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from poolfold.errors import ArtifactError

_PIECE = 2**22
_TICK = 0.02
"""Seconds. Systems stamp writes to a file with a clock that ticks every 1 to 10 ms."""


class NotRegularError(OSError):
    """A folder, a pipe or a device where a file was expected."""


class OpenFile:
    """A regular file, open for reading until nothing refers to it. Links are followed once, here.

    path: where it was found, for messages.
    size: bytes.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            OSError: there is no such regular file, or it may not be read.
        """
        # Without O_NONBLOCK, opening a named pipe would block for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags)
        except ValueError as error:  # a name that no file can have
            raise OSError(errno.EINVAL, str(error), str(path)) from None
        weakref.finalize(self, os.close, self._file)
        self.path = path
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(errno.EINVAL, "not a regular file", str(path))
        self.size = status.st_size
        self._inode = status.st_dev, status.st_ino
        self._modified = status.st_mtime_ns
        self._data: memoryview | mmap.mmap | None = None

    @property
    def data(self) -> memoryview | mmap.mmap:
        """The content: as `hash` read it, or else mapped. Sliced, it gives bytes or a view of them.

        Raises:
            ArtifactError: it was changed since it was opened, or cannot be mapped.
        """
        if self._data is None:
            self.settle()
            self.require_unchanged()  # nothing behind the end of a file can be mapped, nor nothing at all
            try:
                self._data = mmap.mmap(self._file, self.size, access=mmap.ACCESS_READ) if self.size else memoryview(b"")
            except OSError as error:  # a file system may lack it
                raise ArtifactError(
                    f"{self.path} cannot be mapped: {error.strerror}. Load it with mmap=False."
                ) from None
        return self._data

    @property
    def is_mapped(self) -> bool:
        """Whether `data` may change when the file is written."""
        return not isinstance(self._data, memoryview)

    def hash(self, *, keep: bool = False) -> str:
        """SHA-256 in hex digits, of `size` bytes or of those that are there.

        Args:
            keep: hold the hashed bytes as `data`; otherwise the file is read in pieces.

        Raises:
            OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        # Fresh pages of memory, which are not filled with zeros first. A mapping cannot be empty.
        content = memoryview(mmap.mmap(-1, max(self.size if keep else min(self.size, 2 * _PIECE), 1)))
        done = turn = 0
        hashed: Future[None] | None = None
        # One piece is hashed, without the interpreter's lock, while the next one is read.
        with io.FileIO(self._file, closefd=False) as file, ThreadPoolExecutor(1) as hasher:
            file.seek(0)
            while done < self.size:
                start = done if keep else turn % 2 * _PIECE
                piece = content[start : start + min(_PIECE, self.size - done)]
                count = file.readinto(piece)
                if hashed is not None:
                    hashed.result()
                if not count:
                    break
                hashed = hasher.submit(digest.update, piece[:count])
                done, turn = done + count, turn + 1
        if keep:
            self._data = content[: self.size].toreadonly()
        return digest.hexdigest()

    def read(self) -> None:
        """Hold the content in memory, whatever it is.

        Raises:
            ArtifactError: it cannot be read.
        """
        try:
            self.hash(keep=True)
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be read: {error.strerror}. Fetch the artifact again.") from None

    def settle(self) -> None:
        """Wait, if the file was written just now, until a later write would have another time."""
        if abs(time.time_ns() - self._modified) < _TICK * 1e9:
            time.sleep(_TICK)

    def release(self) -> None:
        """Return the mapped pages that were read so far; they are read again when they are needed."""
        if isinstance(self._data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._data.madvise(mmap.MADV_DONTNEED)

    def require_unchanged(self, *, there: bool = False) -> None:
        """Check that nobody has written to the file since it was opened, by its size and its time.

        Args:
            there: check too that `path` still leads to this file, for a library that opens it again by its name.
                Otherwise content in memory needs no check.

        Raises:
            ArtifactError: it was changed, or another file is in its place.
        """
        if not there and not self.is_mapped:
            return
        try:
            now = self.path.stat() if there else os.fstat(self._file)
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be read any more: {error.strerror}. Load it again.") from None
        if (now.st_size, now.st_mtime_ns) != (self.size, self._modified) or (
            there and (now.st_dev, now.st_ino) != self._inode
        ):
            raise ArtifactError(
                f"{self.path} was changed after it was opened. Load the artifact again; to replace one in use, write "
                "the new one beside it and rename."
            )


def open_file(path: Path) -> OpenFile:
    """Open a file that need not be checked.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        return OpenFile(path)
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read: {error.strerror}. Fetch it again, or check its permissions."
        ) from None
