"""Random faults in the files of a directory, each undone at the end: bytes flipped, files cut, swapped, renamed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = ("flip", "flip a copy", "cut", "empty", "swap", "rename", "delete", "grow")


class Damage:
    """Makes faults in a directory. Copies of the files lie beside it, so that each fault is undone by a rename."""

    def __init__(self, directory: Path, store: Path, seed: int) -> None:
        self._directory, self._store = directory, store
        self._random = random.Random(seed)
        self._files = sorted(path for path in directory.rglob("*") if path.is_file())
        store.mkdir()

    def choose(self) -> tuple[str, Path]:
        """A kind of fault and a file."""
        return self._random.choice(KINDS), self._random.choice(self._files)

    @contextmanager
    def prepared(self, path: Path) -> Iterator[None]:
        """Put a copy of what `path` leads to in its place, for faults in place; the original comes back at the end."""
        real = path.resolve()
        kept = self._store / "kept"
        other = self._store / "other"
        _copy(real, other)
        real.rename(kept)
        other.rename(real)
        try:
            yield
        finally:
            kept.rename(real)

    @contextmanager
    def done(self, kind: str, path: Path) -> Iterator[None]:
        """Make a fault of `path`, which is `prepared`."""
        if kind in ("swap", "rename", "delete"):
            with self._moved(kind, path):
                yield
            return
        if kind == "flip a copy":
            _copy(path.resolve(), self._store / "copy")
            self._change("flip", self._store / "copy")
            (self._store / "copy").rename(path.resolve())
        else:
            self._change(kind, path)
        yield

    @contextmanager
    def _moved(self, kind: str, path: Path) -> Iterator[None]:
        other = path.with_name("moved.onnx") if kind == "rename" else self._store / "moved"
        second = self._random.choice([file for file in self._files if file != path])
        path.rename(other)
        if kind == "swap":
            second.rename(path)
            other.rename(second)
        try:
            yield
        finally:
            if kind == "swap":
                second.rename(other)
                path.rename(second)
            other.rename(path)

    def _change(self, kind: str, path: Path) -> None:
        size = path.stat().st_size
        with path.open("r+b") as file:
            if kind == "flip" and size:
                place = self._random.randrange(size)
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ 1 << self._random.randrange(8)]))
            elif kind == "cut":
                file.truncate(self._random.randrange(size or 1))
            elif kind == "empty":
                file.truncate(0)
            elif kind == "grow":
                file.seek(size)
                file.write(b"\0")


def _copy(source: Path, target: Path) -> None:
    """A copy, writable, with an old time, as a file has that was not written just now."""
    target.write_bytes(source.read_bytes())
    os.utime(target, (1e9, 1e9))
