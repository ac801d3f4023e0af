"""A worker as its parent sees it: started, asked, and never left behind.

A process of its own, started afresh rather than forked: onnxruntime's threads go on spinning after a call and would
disturb the next system in the same process, and peak memory belongs to a process. Knows nothing of timing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from exporter.measure.protocol import Load, Loaded, Ran, Run
from exporter.measure.systems import System
from poolfold.errors import CheckFailed

LOAD_LIMIT_S = 900.0
"""Seconds after which a worker that says nothing counts as hanging: while loading, or in the first call of a shape."""

_WITHOUT = "leave measuring out (--skip-latency of export, --skip-cost of compare)"

_Reply = TypeVar("_Reply", Loaded, Ran)


class Worker:
    """A context manager: the process lives from `with` to its end, which kills it if need be.

    The process also ends by itself when its standard input does, so a killed parent leaves no child.
    """

    def __init__(self, system: System, threads: int) -> None:
        self.system = system
        self._threads = threads

    def __enter__(self) -> Self:
        self._stderr = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            # -P: a torch.py in the user's folder is not torch.
            [sys.executable, "-P", "-m", "exporter.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # noqa: PTH109
                "OMP_NUM_THREADS": str(self._threads),
                "TOKENIZERS_PARALLELISM": "false",
            },
            # Ctrl-C is the parent's to handle: the worker would only add a traceback.
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # a request the dead process did not read
                    continue

    def start_load(self) -> None:
        """Tell the worker to load its system; `loaded` waits for it. Workers may load side by side."""
        self._send(Load(self.system.load, self.system.arguments, self._threads))

    def loaded(self) -> Loaded:
        """Wait until the system is loaded."""
        return self._receive(Loaded, LOAD_LIMIT_S)

    def run(self, request: Run, limit_s: float) -> Ran:
        """Time a window; wait at most `limit_s` seconds for it.

        Raises:
            CheckFailed: the worker died or did not answer in time.
        """
        self._send(request)
        return self._receive(Ran, limit_s)

    def _send(self, request: Load | Run) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(msgspec.json.encode(request) + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self, kind: type[_Reply], limit_s: float) -> _Reply:
        stdout = self._process.stdout
        assert stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            line = stdout.readline()
        finally:
            timer.cancel()
        if late.is_set():
            raise CheckFailed(
                f"measuring {self.system.name}: its process gave no answer within {limit_s:.0f} s and was ended. "
                f"Free the machine, or {_WITHOUT}."
            )
        if not line.endswith(b"\n"):
            raise self._died()
        return msgspec.json.decode(line, type=kind)

    def _died(self) -> CheckFailed:
        """The error for a process that is gone, with the end of what it wrote."""
        code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        how = (
            f"was ended by signal {-code} (9 is most often a lack of memory)" if code < 0 else f"ended with code {code}"
        )
        return CheckFailed(
            f"measuring {self.system.name}: its process {how} instead of answering. Its last words: "
            f"{' | '.join(said[-3:]) or 'none'}. Mend that, or {_WITHOUT}."
        )
