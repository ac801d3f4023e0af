"""Memory that this process may still take, in bytes, and what to do where a run finds too little.

In a container the kernel tells the host's memory, and ends what goes beyond the container's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError, OutOfMemory

RunRows = Callable[[int, int], npt.NDArray[np.float32]]
"""The first row and the one behind the last -> float32 [rows, dim]."""

_ROOT = Path("/")
_ELSEWHERE = 2**32
"""Where the kernel does not tell: what is taken to be there."""
_SHARE = 2
"""One run may take one part in so many of what is there; the rest is for other threads' runs, and for estimates that
are too low."""
_SIGNS = re.compile(r"bad.?alloc|(failed to|cannot|can't|could not) alloc|out.of.memory", re.IGNORECASE)
_ASKED = re.compile(r"(?:buffer of size|failed to allocate) (\d+)", re.IGNORECASE)


def default_memory() -> int:
    """What one run may take where the caller does not say: half of what this process may take now."""
    return available_bytes() // _SHARE


def require_memory(memory: object) -> None:
    """Refuse a budget that is none.

    Raises:
        InputError: it is neither None nor a whole number of 1 or more.
    """
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int | np.integer) or memory < 1):
        raise InputError(
            f"memory is {memory!r}; expected bytes, a whole number of 1 or more, or None for half of what this process "
            "may take."
        )


def in_halves(run: RunRows, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Run rows together, or where memory is out in halves, so that none fails in company that would not alone.

    Raises:
        OutOfMemory: memory is out for one row.
    """
    try:
        return run(start, stop)
    except OutOfMemory:
        if stop - start == 1:
            raise
    # Not in the handler, which would keep the arrays of the run that failed.
    middle = (start + stop) // 2
    return np.concatenate([in_halves(run, start, middle), in_halves(run, middle, stop)])


def tell_out_of_memory(error: BaseException, what: str) -> None:
    """Raise the error for one that a runtime raised for want of memory; nothing for any other.

    Args:
        error: of the runtime or of numpy.
        what: was run, for the message.

    Raises:
        OutOfMemory: it was for want of memory.
    """
    if isinstance(error, MemoryError) or _SIGNS.search(str(error)):
        asked = _ASKED.search(str(error))
        raise OutOfMemory(
            f"{what} takes more memory than this process may have. Free some or raise the limit, or use smaller "
            "batches and shorter texts.",
            int(asked.group(1)) if asked else None,
        ) from error


def available_bytes(root: Path = _ROOT) -> int:
    """What is free or can be freed without swapping, within every limit of this process.

    root: where /proc and /sys lie.
    """
    machine = _sizes(root / "proc/meminfo").get("MemAvailable", _ELSEWHERE)
    return max(0, min([machine, *limits(root)]))


def limits(root: Path = _ROOT) -> Iterator[int]:
    """What the limits of this process leave, and those of its cgroups; nothing where none is set. May be negative."""
    yield from _of_cgroups(root)
    used = _sizes(root / "proc/self/status")
    for line in _read(root / "proc/self/limits").splitlines():
        for name, size in (("Max data size", "VmData"), ("Max address space", "VmSize")):
            with suppress(ValueError):  # "unlimited"
                if line.startswith(name):
                    yield int(line.removeprefix(name).split()[0]) - used.get(size, 0)


def _of_cgroups(root: Path) -> Iterator[int]:
    """What each cgroup of this process leaves, its parents' included.

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


def _sizes(path: Path) -> dict[str, int]:
    """The sizes in a file of lines such as `MemAvailable:  1024 kB`, in bytes."""
    fields = (line.split() for line in _read(path).splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in fields}


def _read(path: Path) -> str:
    """A file of the kernel, without the line break at its end; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
