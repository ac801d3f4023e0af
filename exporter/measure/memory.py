"""Resident memory of this process and its peak, in bytes; None where the system does not tell.

Linux alone tells both, and lets the peak be reset. Any other answer would be a guess, and is not given.
"""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_bytes() -> int | None:
    """Resident memory now (VmRSS)."""
    return _status_bytes("VmRSS")


def peak_bytes() -> int | None:
    """The largest resident memory since the last `reset_peak`, or since the process began (VmHWM)."""
    return _status_bytes("VmHWM")


def reset_peak() -> bool:
    """Start a new peak at the present resident memory; False where the system does not allow it.

    Source: Linux, proc(5), /proc/pid/clear_refs, value 5.
    """
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    """A size of /proc/self/status, which the kernel gives in kB of 1024 bytes."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    sizes = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    size = next(sizes, None)
    return None if size is None else int(size) * 1024
