"""What one process costs from start to end: wall time and peak memory, its children included.

Keep the caller small. A new process counts the memory of the one that started it until it becomes its own program, so
its peak is never below the caller's.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_S = 0.1
_KIB = 1024


@dataclass(frozen=True)
class Cost:
    """A process that ran.

    wall_s: from its start to its end, seconds.
    peak_process_bytes: peak resident memory of the largest single process among it and the children it waited for;
        exact, since the kernel keeps it.
    peak_tree_bytes: peak of the sum over it and its descendants, from samples every 0.1 s, so a short peak of several
        together may be missed; pages that two of them share count twice. Never below `peak_process_bytes`.
    """

    wall_s: float
    peak_process_bytes: int
    peak_tree_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end, on Linux, in this whole environment; what it writes goes to the log.

    Raises:
        RuntimeError: it did not end with code 0; the message has the end of the log.
    """
    ended: list[tuple[float, int, int]] = []

    def wait() -> None:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would look for a process that is gone
        ended.append((time.perf_counter(), process.returncode, usage.ru_maxrss * _KIB))

    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        waiter = threading.Thread(target=wait)
        waiter.start()
        sampled = 0
        try:
            while waiter.is_alive():
                sampled = max(sampled, _tree_bytes(process.pid))
                waiter.join(_SAMPLE_S)
        except BaseException:
            os.kill(process.pid, 9)
            waiter.join()
            raise
    ((end, code, peak),) = ended
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"`{' '.join(command)}` ended with code {code}, expected 0. The end of its output:\n{tail}")
    return Cost(end - start, peak, max(peak, sampled))


def _tree_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants now, in bytes; those that just ended count nothing."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
    return total
