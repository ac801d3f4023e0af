"""Keep a library out of a process: transformers imports PyTorch wherever it finds it, and needs it for models alone."""

from __future__ import annotations

import os
import sys
from typing import cast


def keep_out(*libraries: str) -> None:
    """Let nothing import these from here on, nor find them; does nothing to one that is imported already.

    Source: Python's import system, where None in `sys.modules` stands for a module that is not there.
    """
    modules = cast("dict[str, object]", sys.modules)
    for library in libraries:
        modules.setdefault(library, None)
    # transformers would tell the user that PyTorch is not there.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
