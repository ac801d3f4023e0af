"""What a process imports late, must find before any work begins, or must not import."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any, cast


def require(*names: str) -> None:
    """Look for libraries without importing them.

    Raises:
        ModuleNotFoundError: the first that is not installed; the command line names the extra that brings it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def keep_out(*libraries: str) -> None:
    """Let nothing import these from here on, nor find them; does nothing to one that is imported already.

    Source: Python's import system, where None in `sys.modules` stands for a module that is not there.
    """
    modules = cast("dict[str, object]", sys.modules)
    for library in libraries:
        modules.setdefault(library, None)
    # transformers would tell the user that PyTorch is not there.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def named(place: str) -> Any:
    """What `module:name` names; imports the module."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
