"""How far a build is, from the library's own progress monitor.

An exception raised in a callback of the library is lost there, Ctrl-C included; so callbacks only note things down, and
builds run in a thread that gets no signals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exporter.targets.trt_library import Library

Report = Callable[[str, float], None]
"""Called with the phase's name and the fraction done of the whole build, in [0, 1], which never falls."""


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
