"""The TensorRT-RTX library: loaded when it is needed, its one log, and its progress.

Knows nothing of what is built. The library calls back from its own code, and an exception raised in a callback is lost
there, Ctrl-C included; so callbacks only note things down, and builds run in a thread that gets no signals.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from poolfold.errors import TargetUnavailable

# Every graph has int64 inputs, as other servers of such graphs expect.
_EXPECTED_WARNING = "has Int64 binding"

Report = Callable[[str, float], None]
"""Called with the phase's name and the fraction done of the whole build, in [0, 1], which never falls."""


def load() -> Any:
    """The module `tensorrt_rtx`.

    Raises:
        TargetUnavailable: it is not installed, or its shared libraries do not load.
    """
    try:
        return importlib.import_module("tensorrt_rtx")
    except (ImportError, OSError) as error:
        raise TargetUnavailable(
            f"target tensorrt-rtx is not available here: {error}. Install it: pip install 'poolfold[tensorrt-rtx]'"
        ) from error


@functools.cache
def log() -> Any:
    """The logger of this process, whose `lines` hold (severity, message) of warnings and worse.

    One for the whole process: the library keeps the first logger that it is given and ignores every later one.
    """
    trt = load()

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]  # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[Any, str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append((severity, message))

    return Log()


def errors() -> str:
    """The errors logged since `log().lines` was cleared, each once."""
    severities = load().ILogger.Severity
    lines = (message for severity, message in log().lines if severity <= severities.ERROR)
    return "; ".join(dict.fromkeys(lines)) or "it gave no reason"


def warnings() -> tuple[str, ...]:
    """The warnings logged since `log().lines` was cleared, each once, but for the one that every graph gives."""
    severities = load().ILogger.Severity
    lines = (message for severity, message in log().lines if severity == severities.WARNING)
    return tuple(dict.fromkeys(message for message in lines if _EXPECTED_WARNING not in message))


def progress_monitor(report: Report | None) -> Any:
    """A monitor for one build. Set its `cancelled` to end the build; `error` is what `report` raised, if it did.

    Phases nest. A phase shares the place of its parent's current step, so the fraction is honest about the order of
    the work and not about its time: ahead of time, nearly all of it is one step, in which nothing is heard.
    """
    trt = load()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]  # the library has no types
        def __init__(self) -> None:
            super().__init__()
            self.cancelled = False
            self.error: BaseException | None = None
            self._spans: dict[str, tuple[float, float]] = {}  # phase -> start of its current step, width of a step
            self._done = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            start, width = self._spans.get(parent or "", (0.0, 1.0))
            self._spans[phase] = (start, width / max(steps, 1))
            self._tell(phase, start)

        def step_complete(self, phase: str, step: int) -> bool:
            start, width = self._spans.get(phase, (self._done, 0.0))
            self._spans[phase] = (start + width, width)
            self._tell(phase, start + width)
            return not self.cancelled

        def phase_finish(self, phase: str) -> None:
            self._spans.pop(phase, None)

        def _tell(self, phase: str, done: float) -> None:
            self._done = min(max(self._done, done), 1.0)
            if report is None or self.cancelled:
                return
            try:
                report(phase, self._done)
            except BaseException as error:  # raised again by whoever started the build
                self.error, self.cancelled = error, True

    return Monitor()
