"""A user's own texts: a UTF-8 file with one text a line."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from poolfold.errors import InputError

STREAM = Path("-")
"""Stands for standard input, and for standard output, as in other commands."""


def read_texts(path: Path | None) -> tuple[str, ...]:
    """All that `iter_texts` gives; None gives no texts."""
    return () if path is None else tuple(iter_texts(path))


def iter_texts(path: Path) -> Iterator[str]:
    """Read the lines of a file, one after another; an empty line is an empty text, so that line n stays row n.

    A line ends with a line feed, before which a carriage return may stand; form feeds and Unicode's separators are part
    of a text.

    Args:
        path: the file, or STREAM.

    Raises:
        InputError: no such file, not UTF-8 (the line is named), or unreadable.
    """
    number = 1
    try:
        with nullcontext(sys.stdin.buffer) if path == STREAM else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                read = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if read:
                    yield (read[:-2] if read.endswith(b"\r\n") else read.removesuffix(b"\n")).decode()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Give a UTF-8 file with one text a line.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Give a UTF-8 file with one text a line.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason}). Convert the file to UTF-8.") from None
