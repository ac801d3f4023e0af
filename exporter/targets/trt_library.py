"""TensorRT and TensorRT-RTX: one API in two modules, loaded when one is needed, with one log and progress for each.

Knows nothing of what is built. A library calls back from its own code, and an exception raised in a callback is lost
there, Ctrl-C included; so callbacks only note things down, and builds run in a thread that gets no signals.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from exporter.build_options import TENSORRT, TENSORRT_RTX
from poolfold.errors import TargetUnavailable

_MODULES = {TENSORRT: "tensorrt", TENSORRT_RTX: "tensorrt_rtx"}
_TITLES = {TENSORRT: "TensorRT", TENSORRT_RTX: "TensorRT-RTX"}
_OLDEST = (10, 12)
"""The first TensorRT in which strong typing is complete, by its makers' word. TensorRT-RTX always had it."""

# Every graph has int64 inputs, as other servers of such graphs expect.
_EXPECTED_WARNING = "has Int64 binding"

Report = Callable[[str, float], None]
"""Called with the phase's name and the fraction done of the whole build, in [0, 1], which never falls."""


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


def progress_monitor(library: Library, report: Report | None) -> Any:
    """A monitor for one build. Set its `cancelled` to end the build; `error` is what `report` raised, if it did.

    Phases nest. A phase shares the place of its parent's current step, so the fraction is honest about the order of
    the work and not about its time: TensorRT-RTX spends nearly all of it in one step, in which nothing is heard.
    """
    trt = library.trt

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
