"""A worker as its parent sees it: started, asked, and ended with its parent.

A process of its own: onnxruntime's threads go on spinning after a call and would disturb the next system in the same
process, and peak memory belongs to a process. Knows nothing of turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from exporter.host.child_process import OwnProcess
from exporter.measure.protocol import Ran, Run
from exporter.measure.systems import System
from exporter.measure.workloads import Workload
from poolfold.errors import CheckFailed, PoolfoldError

LOAD_LIMIT_S = 900.0
"""Seconds after which a worker that says nothing counts as hanging: while loading, or in the first call of a shape."""

WITHOUT = "Mend that, or leave measuring out (--skip-latency of export, --skip-cost of compare)."


class Worker:
    """A context manager: the process lives from `with` to its end, and loads its system meanwhile."""

    def __init__(self, system: System, threads: int) -> None:
        self.system = system
        self._process = OwnProcess(
            "exporter.measure.worker:serve",
            *(system.load, dict(system.arguments), threads),
            variables={"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
            python=system.python,
            quiet=True,
        )

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    def loaded(self, limit_s: float = LOAD_LIMIT_S) -> int | None:
        """Wait until the system is loaded: the memory before that, in bytes; None where unknown. Called first.

        Raises:
            CheckFailed: the system did not load.
        """
        before: int | None = self._answer(limit_s)
        return before

    def run(self, request: Run, limit_s: float) -> Ran:
        """Time a window; wait at most `limit_s` seconds for it.

        Raises:
            CheckFailed: the system failed, or the worker died or did not answer in time.
        """
        ran: Ran = self._answer(limit_s, request)
        return ran

    def _answer(self, limit_s: float, request: Run | None = None) -> Any:
        try:
            if request is not None:
                self._process.send(request)
            return self._process.result(limit_s)
        except Exception as error:  # whatever a library raises
            words = in_words(error).removesuffix(".")
            raise CheckFailed(f"measuring {self.system.name}: {words}. {WITHOUT}") from error


def in_words(error: BaseException) -> str:
    """An error on one line, under its kind where that says more than its message."""
    told = " ".join(str(error).split())
    return told if told and isinstance(error, PoolfoldError | RuntimeError) else f"{type(error).__name__}: {told}"


def weigh(system: System, workloads: Sequence[Workload], threads: int) -> list[int | None]:
    """Bytes that a system and one call on each workload, in this order, add to a fresh process; None where unknown.

    Raises:
        CheckFailed: the system failed, or its process died or hung.
    """
    with Worker(system, threads) as worker:
        before = worker.loaded()
        peaks = [worker.run(Run(workload.batches, 0, 1), LOAD_LIMIT_S).peak_bytes for workload in workloads]
    return [None if before is None or peak is None else peak - before for peak in peaks]
