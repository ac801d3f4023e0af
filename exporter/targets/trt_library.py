"""The library that builds for a target: which one, which version, and what it said while it built.

The runtime loads the same two modules; their one log is the runtime's (poolfold/sessions/tensorrt/library.py), since a
library keeps the first logger that a process gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from poolfold.errors import TargetUnavailable, how_to_install
from poolfold.sessions.tensorrt.library import TITLES, load_module, log

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"
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
        return f"{TITLES[self.target]} {self.version}"

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX. Its versions begin at 1, so that no version tells the two apart."""
        return self.target == TENSORRT_RTX


def load(target: str) -> Library:
    """The library of a target.

    Raises:
        TargetUnavailable: it is not installed, its shared libraries do not load, or it is too old.
    """
    library = Library(target, load_module(target))
    if not library.is_rtx and _numbers(library.version) < _OLDEST:
        raise TargetUnavailable(
            f"target {target} is not available here: got {library.title}, expected 10.12 or later, where strong typing "
            f"is complete. Install a later one: {how_to_install(target)}"
        )
    return library


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def forget(library: Library) -> None:
    """Clear the log before a build, so that it holds the messages of that build alone."""
    log(library.trt).lines.clear()


def errors(library: Library) -> str:
    """The errors logged since `forget`, each once."""
    severities = library.trt.ILogger.Severity
    lines = (message for severity, message in tuple(log(library.trt).lines) if severity <= severities.ERROR)
    return "; ".join(dict.fromkeys(lines)) or "it gave no reason"


def warnings(library: Library) -> tuple[str, ...]:
    """The warnings logged since `forget`, each once, but for the one that every graph gives."""
    severities = library.trt.ILogger.Severity
    lines = (message for severity, message in tuple(log(library.trt).lines) if severity == severities.WARNING)
    return tuple(dict.fromkeys(message for message in lines if _EXPECTED_WARNING not in message))
