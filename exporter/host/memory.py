"""Memory that this process may still take, in bytes, on any system."""

from __future__ import annotations

from pathlib import Path

import psutil

from poolfold.sessions.memory import limits

_ROOT = Path("/")


def available_bytes(root: Path = _ROOT) -> int:
    """What is free or can be freed without swapping, within every limit of this process.

    root: where /proc and /sys lie.
    """
    return max(0, min([int(psutil.virtual_memory().available), *limits(root)]))
