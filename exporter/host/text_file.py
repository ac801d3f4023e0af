"""A user's own texts: a UTF-8 file with one text a line."""

from __future__ import annotations

import sys
from pathlib import Path

from poolfold.errors import InputError

STREAM = Path("-")
"""Stands for standard input, and for standard output, as in other commands."""


def read_texts(path: Path | None) -> tuple[str, ...]:
    """Read the lines of a file; an empty line is an empty text, so that line n stays row n.

    Args:
        path: the file, or STREAM; None gives no texts.

    Raises:
        InputError: no such file, not UTF-8 (the line is named), or unreadable.
    """
    if path is None:
        return ()
    try:
        data = sys.stdin.buffer.read() if path == STREAM else path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Give a UTF-8 file with one text a line.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Give a UTF-8 file with one text a line.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error.reason}). Convert the file to UTF-8.") from None
    # Not str.splitlines: it also breaks at form feeds and Unicode separators, which are part of a text.
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    return tuple(lines)
