"""Load TensorRT and TensorRT-RTX, two modules with one API, when an engine is opened, with one logger for each.

Independent of engines. A library keeps the first logger that it gets in a process and ignores later ones. So there is
one logger per library, which all code of the process shares.
"""

from __future__ import annotations

import functools
import importlib
from collections import deque
from typing import Any

from poolfold.errors import TargetUnavailable, how_to_install

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Targets whose engines are files, and the module that runs them."""

TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
_KEPT = 1000
_SHOWN = 3


def load_module(target: str) -> Any:
    """The module of a target, one of MODULES.

    Raises:
        TargetUnavailable: it is not installed, or its shared libraries do not load.
    """
    try:
        return importlib.import_module(MODULES[target])
    # TensorRT's wheels raise RuntimeError where the libraries themselves are missing.
    except (ImportError, OSError, RuntimeError) as error:
        raise TargetUnavailable(
            f"target {target} is not available here: {error}. Install it: {how_to_install(target)}"
        ) from error


@functools.cache
def log(trt: Any) -> Any:
    """The logger of this process; its `lines` hold (severity, message) of the latest warnings and errors."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.lines: deque[tuple[Any, str]] = deque(maxlen=_KEPT)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append((severity, message))

    return Log()


def reason(trt: Any) -> str:
    """The latest errors that the library logged, each once, in one line; clears the log."""
    lines = log(trt).lines
    errors = (message for severity, message in tuple(lines) if severity <= trt.ILogger.Severity.ERROR)
    distinct = tuple(dict.fromkeys(errors))
    lines.clear()
    return "; ".join(message.strip().rstrip(".") for message in distinct[-_SHOWN:]) or "it gave no reason"
