"""Memory that this process may still take, in bytes: of the machine, and of the cgroups that limit it.

In a container the kernel tells the host's memory, and ends what goes beyond the container's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_ROOT = Path("/")


def available_bytes(root: Path = _ROOT) -> int:
    """What is free or can be freed without swapping, and within every cgroup's limit.

    root: where /proc and /sys lie.
    """
    return max(0, min([int(psutil.virtual_memory().available), *_left(root)]))


def _left(root: Path) -> Iterator[int]:
    """What each cgroup of this process leaves, its parents' included; nothing where none is limited.

    Source: the kernel's documentation of memory.max, memory.current and memory.stat (cgroup v2), and of
    memory.limit_in_bytes, memory.usage_in_bytes and total_inactive_file (v1).
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        if controllers == "":
            folder, most, used, cache = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            folder, most = root / "sys/fs/cgroup" / controllers, "memory.limit_in_bytes"
            used, cache = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        for place in (group, *group.parents):
            with suppress(ValueError):  # no file, or "max"
                yield (
                    int(_read(folder / place / most))
                    - int(_read(folder / place / used))
                    + _cached(_read(folder / place / "memory.stat"), cache)
                )


def _cached(stat: str, name: str) -> int:
    """Pages of files that nobody used of late, which the kernel takes back when it needs them."""
    sizes = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    return int(sizes.get(name, 0))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
