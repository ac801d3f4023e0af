"""How wide the terminal is, and text in lines that fit it."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TextIO

_NO_TERMINAL = 80
"""Columns where nobody says how many there are: a log, a file."""


def terminal_width(*streams: TextIO) -> int:
    """Columns to write for: those of COLUMNS, else of the first stream that is a terminal, else 80.

    Args:
        streams: by default stdout, and stderr: what is piped into a pager is read where stderr still shows.
    """
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    for stream in streams or (sys.stdout, sys.stderr):
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):  # no terminal, or no file at all
            continue
        if columns > 0:
            return columns
    return _NO_TERMINAL


def wrap(text: str, width: int, indent: str = "") -> str:
    """The text in lines of at most `width`, all but the first indented; a longer word is not broken."""
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
