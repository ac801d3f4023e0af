"""TensorRT and TensorRT-RTX: one API in two modules, loaded when one is needed, with one log for each.

Knows nothing of what is built or run. A library calls back from its own code, and an exception raised in a callback is
lost there; so the log only notes things down.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, field
from typing import Any

from poolfold.errors import TargetUnavailable

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"
ENGINE_TARGETS = (TENSORRT, TENSORRT_RTX)
"""Targets whose engines are files, as `--target` takes them."""

_MODULES = {TENSORRT: "tensorrt", TENSORRT_RTX: "tensorrt_rtx"}
_TITLES = {TENSORRT: "TensorRT", TENSORRT_RTX: "TensorRT-RTX"}
_OLDEST = (10, 12)
"""The first TensorRT in which strong typing is complete, by its makers' word. TensorRT-RTX always had it."""

# Every graph has int64 inputs, as other servers of such graphs expect.
_EXPECTED_WARNING = "has Int64 binding"


@dataclass(frozen=True)
class Library:
    """One of the two libraries, loaded.

    target: as `--target` takes it.
    trt: the module.
    """

    target: str
    trt: Any = field(repr=False)

    @property
    def version(self) -> str:
        """An engine runs with exactly this version, unless it is built to be version compatible."""
        return str(self.trt.__version__)

    @property
    def title(self) -> str:
        """Its name and version, for people."""
        return f"{_TITLES[self.target]} {self.version}"

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX. Its versions begin at 1, so that no version tells the two apart."""
        return self.target == TENSORRT_RTX


def load(target: str) -> Library:
    """The library of a target.

    Raises:
        TargetUnavailable: it is not installed, its shared libraries do not load, or it is too old.
    """
    try:
        trt = importlib.import_module(_MODULES[target])
    # The wheels of TensorRT raise RuntimeError where their libraries are missing.
    except (ImportError, OSError, RuntimeError) as error:
        raise TargetUnavailable(
            f"target {target} is not available here: {error}. Install it: pip install 'poolfold[{target}]'"
        ) from error
    library = Library(target, trt)
    if not library.is_rtx and _numbers(library.version) < _OLDEST:
        raise TargetUnavailable(
            f"target {target} is not available here: got {library.title}, expected 10.12 or later, where strong typing "
            f"is complete. Install a later one: pip install --upgrade 'poolfold[{target}]'"
        )
    return library


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


@functools.cache
def log(library: Library) -> Any:
    """The logger of this process, whose `lines` hold (severity, message) of warnings and worse.

    One for the whole process: a library keeps the first logger that it is given and ignores every later one.
    """
    trt = library.trt

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]  # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[Any, str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append((severity, message))

    return Log()


def errors(library: Library) -> str:
    """The errors logged since `log(library).lines` was cleared, each once."""
    severities = library.trt.ILogger.Severity
    lines = (message for severity, message in log(library).lines if severity <= severities.ERROR)
    return "; ".join(dict.fromkeys(lines)) or "it gave no reason"


def warnings(library: Library) -> tuple[str, ...]:
    """The warnings logged since `log(library).lines` was cleared, each once, but for the one that every graph gives."""
    severities = library.trt.ILogger.Severity
    lines = (message for severity, message in log(library).lines if severity == severities.WARNING)
    return tuple(dict.fromkeys(message for message in lines if _EXPECTED_WARNING not in message))
