"""How many threads a run takes where the caller does not say: what the process may use, not what the machine has.

Runtimes count the machine's cores themselves. In a container they then start a thread for each core of the host, which
wait for each other on the few that they may use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from poolfold.errors import InputError

VARIABLE = "POOLFOLD_THREADS"
MOST_THREADS = 1024
_ROOT = Path("/")


def default_threads() -> int:
    """POOLFOLD_THREADS where it is set, or else `usable_cores`.

    Raises:
        InputError: POOLFOLD_THREADS is no number from 1 to 1024.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return usable_cores()
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= MOST_THREADS):
        raise InputError(f"{VARIABLE} is {value!r}; expected 1 to {MOST_THREADS}. Correct it, or unset it.")
    return int(value)


def usable_cores(root: Path = _ROOT) -> int:
    """Physical cores within the CPU affinity of this process and the quota of its cgroups; at least 1.

    root: where /proc and /sys lie.
    """
    return max(1, min([allowed_cores(root), *map(int, _quotas(root))]))


def allowed_cores(root: Path = _ROOT) -> int:
    """Physical cores within the CPU affinity of this process."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({_core(cpu, root) for cpu in cpus})


def _core(cpu: int, root: Path) -> str:
    """A name of the physical core that a logical CPU belongs to: the list of the core's CPUs."""
    topology = root / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology"
    return _read(topology / "core_cpus_list") or _read(topology / "thread_siblings_list") or str(cpu)


def _quotas(root: Path) -> Iterator[float]:
    """CPUs that each cgroup of this process may use on average, its parents' included; nothing where none is limited.

    Source: the kernel's documentation of cpu.max (cgroup v2), cpu.cfs_quota_us and cpu.cfs_period_us (v1).
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        for place in (group, *group.parents):
            if controllers == "":
                quota, _, period = _read(root / "sys/fs/cgroup" / place / "cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                folder = root / "sys/fs/cgroup" / controllers / place
                quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            else:
                break
            if quota.isdecimal() and period.isdecimal() and int(period):
                yield int(quota) / int(period)


def _read(path: Path) -> str:
    """A file of the kernel, without the line break at its end; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
