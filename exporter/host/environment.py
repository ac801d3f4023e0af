"""The machine and the versions, which are reported with every number.

Reads what the system says and the installed distributions' metadata; imports none of the libraries that it names.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

from poolfold.sessions import targets
from poolfold.sessions.threads import usable_cores

_DISTRIBUTIONS = ("poolfold", "torch", "transformers", "onnx", "onnx-ir", "onnxscript")
_ALSO = ("tokenizers", "numpy")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "bf16")
"""Those that matrix products are computed with, in the system's names; times differ most by them."""


def environment() -> dict[str, str | int | dict[str, str]]:
    """What a reader needs to judge a number or to repeat it; ready for JSON.

    Returns:
        `python`, `platform`, `cpu` (model name), `instructions` (of the CPU, for matrix products; empty where the
        system does not say), `cores` (see `usable_cores`), `logical_cpus`, `memory_bytes` (physical), and `versions`:
        distribution name -> version, of those that are installed.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "instructions": " ".join(name for name in _INSTRUCTIONS if name in _cpuinfo("flags", "Features").split()),
        "cores": usable_cores(),
        "logical_cpus": psutil.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "versions": _versions(),
    }


def load_average() -> float | None:
    """Processes that ran or waited for a core over the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def busy_share(seconds: float = 1.0) -> float:
    """The share of all processors that others keep busy, watched for a while in which this process does nothing."""
    return float(psutil.cpu_percent(interval=seconds)) / 100


def idle_processors() -> tuple[float, int] | None:
    """Seconds that the CPUs which this process may use have idled, all together, and how many they are.

    Idle time is counted to the tick, mostly 10 ms, where busy time is sampled. None where the system does not tell.
    """
    every = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(len(every)))
    if len(allowed) == len(every) or max(allowed) >= len(every):  # a container's /proc/stat may number CPUs anew
        times, count = [psutil.cpu_times()], len(every)
    else:
        times, count = [every[cpu] for cpu in allowed], len(allowed)
    idle = sum(cpu.idle + getattr(cpu, "iowait", 0.0) for cpu in times)
    return (idle, count) if idle > 0 else None


def _cpuinfo(*fields: str) -> str:
    """What Linux says of the first processor in the first of these fields that it has; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    named = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in named if name.strip() in fields), "")


def _versions() -> dict[str, str]:
    """Versions of the distributions that are installed."""
    versions = {}
    for name in (*_DISTRIBUTIONS, *(d for t in targets.TARGETS for d in t.distributions), *_ALSO):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
