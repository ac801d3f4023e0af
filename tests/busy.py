"""A machine that other programs keep busy, in bursts: `python -m tests.busy`, until it is ended.

--busy, --idle: seconds of a burst and of the pause behind it. --processes: how many are busy, by default all cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def spin(busy_s: float, idle_s: float) -> None:
    """Use one processor for a burst, pause, and again."""
    parent = os.getppid()
    while os.getppid() == parent:
        end = time.monotonic() + busy_s
        while time.monotonic() < end:
            pass
        time.sleep(idle_s)


@contextmanager
def busy_machine() -> Iterator[None]:
    """All cores are busy in the block, all along."""
    load = subprocess.Popen([sys.executable, "-m", "tests.busy", "--idle", "0"], cwd=Path(__file__).parents[1])
    try:
        yield
    finally:
        load.terminate()
        load.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--busy", type=float, default=2.0)
    parser.add_argument("--idle", type=float, default=3.0)
    given = parser.parse_args()
    for process in [
        multiprocessing.Process(target=spin, args=(given.busy, given.idle)) for _ in range(given.processes)
    ]:
        process.start()
