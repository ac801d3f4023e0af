"""Files that a GPU's library makes anew where they are missing: kept in the user's cache folder, never in an artifact.

They belong to a machine, a GPU and a release, and all of these are in a file's name.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path


def cache_path(kind: str, *parts: str) -> Path:
    """Where a cache lies; `kind` is its folder, `parts` tell it from others, in any characters."""
    from platformdirs import user_cache_path

    name = "_".join(parts)
    return user_cache_path("poolfold") / kind / "".join(c if c.isalnum() or c in "._" else "-" for c in name)


def read_cache(path: Path) -> bytes:
    """What is in it; nothing where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def write_cache(path: Path, content: bytes | memoryview) -> None:
    """Replace it, whole or not at all. Does nothing where the folder cannot be written: a cache only saves time."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
