"""Libraries that an extra brings: missed before any work, and not after minutes of it."""

from __future__ import annotations

import importlib.util


def require(*names: str) -> None:
    """Look for libraries without importing them.

    Raises:
        ModuleNotFoundError: the first that is not installed; the command line names the extra that brings it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
