"""Small functions with known ends, for tests of a process of its own: each is named, and imported there alone."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from poolfold.errors import CheckpointError


class Picky(Exception):
    """An exception that cannot be made again from its message, as those of some libraries."""

    def __init__(self, *, response: int) -> None:
        super().__init__(f"status {response}")


def pid_and_sum(*numbers: int) -> tuple[int, int]:
    return os.getpid(), sum(numbers)


def refuse(what: str) -> NoReturn:
    raise CheckpointError(f"{what} cannot be read. Restore it.")


def divide(number: int) -> float:
    return number / 0


def picky() -> NoReturn:
    raise Picky(response=503)


def not_plain() -> object:
    return lambda: None


def hash_of(text: str) -> int:
    return hash(text)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> NoReturn:
    sys.exit(code)


def sleep(log: str) -> None:
    """Write this process's id, then sleep far longer than any test waits."""
    Path(log).write_text(str(os.getpid()))
    time.sleep(600)


def ignores_ctrl_c() -> bool:
    os.kill(os.getpid(), signal.SIGINT)
    return True


def can_import(library: str) -> bool:
    """Whether it can be imported, and found."""
    found = importlib.util.find_spec(library) is not None
    try:
        importlib.import_module(library)
    except ModuleNotFoundError:
        return False
    return found
