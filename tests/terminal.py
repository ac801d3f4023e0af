"""A terminal of some width: what a command sends to it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

HIDES_CURSOR, SHOWS_CURSOR = "\x1b[?25l", "\x1b[?25h"
"""A bar begins with the one and ends with the other."""


def on_terminal(
    arguments: Sequence[str], columns: int = 200, environment: Mapping[str, str] | None = None, *, stdout: bool = False
) -> str:
    """Run Python with these arguments, stderr being a terminal, and stdout too if asked; what that was sent.

    The process must end with 0.
    """
    master, slave = pty.openpty()
    settings = {**(environment or os.environ), "TERM": "xterm-256color", "COLUMNS": str(columns)}
    out = slave if stdout else subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *arguments], stdout=out, stderr=slave, env=settings)
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 4096):
            said += chunk
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == 0, said
    return said.decode()


def plain(said: str) -> str:
    """What a terminal was sent, without colours."""
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", said)


def most_bars_at_once(said: str) -> int:
    """How many progress displays were on the terminal at the same time."""
    most = now = 0
    for code in re.findall(r"\x1b\[\?25[lh]", said):
        now += 1 if code == HIDES_CURSOR else -1
        most = max(most, now)
    return most
