"""Caches of a GPU's libraries, in the user's cache folder and never in an artifact. A missing cache is rebuilt.

A cache is valid for one GPU and one release of a library, so its file name contains both.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def cache_path(kind: str, *parts: str) -> Path:
    """The path of a cache in the folder `kind`; `parts` identify it and may contain any characters."""
    from platformdirs import user_cache_path

    name = "_".join(parts)
    return user_cache_path("poolfold") / kind / "".join(c if c.isalnum() or c in "._" else "-" for c in name)


def read_cache(path: Path) -> bytes:
    """The content of a cache; empty where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place, then rename it: the place has the old content or the new, never half of one.

    Args:
        path: the file; its folder is there.
        write: writes the content.

    Raises:
        OSError: it cannot be written; nothing is left.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            write(file)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_cache(path: Path, content: bytes | memoryview) -> None:
    """Replace a cache atomically. Does nothing where the folder is not writable, since a cache only saves time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(content))
