"""Warnings that name the caller's line, however deep in this package they are made; each once, where that is enough."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


def warn_caller(message: str) -> None:
    """Warn of `message` at the first line outside this package."""
    level, frame = 1, sys._getframe()
    package = __name__.partition(".")[0]
    while _is_ours(frame, package) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


class Once:
    """Warns of each thing once. Safe to share between threads, two of which may both warn."""

    def __init__(self) -> None:
        self._told: frozenset[str] = frozenset()

    def warn(self, about: str, message: str) -> None:
        """Warn of `message`, if nothing was said about this yet."""
        if about not in self._told:
            self._told |= {about}
            warn_caller(message)


def _is_ours(frame: FrameType, package: str) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name == package or name.startswith(f"{package}.")
