"""Run one function in a process of its own, and have its result here: the one way in which this project starts Python.

For work that needs large libraries, whose memory is then gone before graphs are built and engines compiled, and for
what is measured, which must not meet another runtime's threads. The function is named, not passed, so that only the
other process imports its module. Messages are pickled objects, each behind its length, on its stdin and stdout.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import GeneratorType, TracebackType
from typing import IO, Any, Self

from exporter.host.libraries import keep_out
from poolfold.errors import CheckFailed

_START = "import sys; sys.path.insert(0, sys.argv[1]); from exporter.host.child_process import serve; serve()"
_ROOT = str(Path(__file__).parents[2])
_LENGTH_BYTES = 8
_LAST_LINES = 3


class OwnProcess:
    """A context manager: the process starts with the `with` block and never outlives it."""

    def __init__(
        self,
        function: str,
        *arguments: Any,
        variables: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        python: str = "",
        quiet: bool = False,
    ) -> None:
        """Name a `module:function`; its arguments and its result travel between the processes, so keep them plain.

        A function that yields is a conversation: each value that it yields is a result, and each `send` resumes it.

        Args:
            function: what the process runs.
            arguments: what it is called with.
            variables: added to the process's environment.
            without: libraries that cannot be imported there.
            python: the interpreter of another environment, which finds this project and its own libraries; empty for
                this one.
            quiet: what the process writes is not shown; its last lines are told where it dies.
        """
        self._what = function
        # Models go through sets of names while they are traced: with a seed the same checkpoint gives the same bytes.
        # A signal.py in the user's folder stays out.
        self._variables = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0", **(variables or {})}
        self._python = python or sys.executable
        self._quiet = quiet
        path = None if python else [entry or str(Path.cwd()) for entry in sys.path]
        self._messages = [ForkingPickler.dumps((path, list(without))), ForkingPickler.dumps((function, arguments))]

    def __enter__(self) -> Self:
        self._words = tempfile.TemporaryFile() if self._quiet else None
        with _ctrl_c_held_back():
            self._process = subprocess.Popen(
                [self._python, "-c", _START, _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env=self._variables,
            )
        for message in self._messages:
            # One that died at once is noticed when its result is wanted.
            with suppress(BrokenPipeError):
                _write(self._stream("stdin"), message)
        return self

    def send(self, message: Any) -> None:
        """Resume a function that yields; `result` has what it yields next.

        Raises:
            CheckFailed: the process died.
        """
        try:
            _write(self._stream("stdin"), ForkingPickler.dumps(message))
        except BrokenPipeError:
            raise self._died() from None

    def result(self, limit_s: float | None = None) -> Any:
        """Wait for the function's result, or raise what it raised.

        Args:
            limit_s: end the process where it takes longer; None to wait as long as it lives.

        Raises:
            CheckFailed: the process died, or was ended because it took too long.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        with _timer(limit_s, give_up):
            message = _read(self._stream("stdout"))
        if late.is_set():
            raise CheckFailed(
                f"The process that ran {self._what} gave no answer within {limit_s:.0f} s and was ended. "
                "Free the machine, or give it more time."
            )
        if message is None:
            raise self._died()
        succeeded, value = ForkingPickler.loads(message)
        if not succeeded:
            raise value
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            if stream is not None:
                with suppress(BrokenPipeError):  # a request the dead process did not read
                    stream.close()

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self._process, name)
        return stream

    def _died(self) -> CheckFailed:
        """The error for a process that is gone, with the end of what it wrote where that was not shown."""
        code = self._process.wait()
        last = ""
        if self._words is not None:
            self._words.seek(0)
            lines = self._words.read().decode(errors="replace").strip().splitlines()
            last = f" Its last words: {' | '.join(lines[-_LAST_LINES:]) or 'none'}."
        return CheckFailed(
            f"The process that ran {self._what} died with exit code {code}.{last} "
            "-9 mostly means that memory ran out: free some, or use a larger machine."
        )


@contextmanager
def _timer(limit_s: float | None, act: Any) -> Iterator[None]:
    """Act after so many seconds, unless the block ended before."""
    timer = None if limit_s is None else threading.Timer(limit_s, act)
    if timer:
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """A process started in the block never gets Ctrl-C: its imports would answer with a traceback. We get it after."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write(stream: IO[bytes], message: Any) -> None:
    data = bytes(message)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the other side is gone."""
    size = stream.read(_LENGTH_BYTES)
    if len(size) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(size, "big")
    message = stream.read(length)
    return message if len(message) == length else None


def serve() -> None:
    """What the process runs."""
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever the libraries print goes to stderr; nothing reads what the parent writes but `_receive`.
    replies, lines = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(lines, requests), daemon=True).start()
    path, without = ForkingPickler.loads(requests.get())
    sys.path[:] = path or sys.path
    if without:
        keep_out(*without)
    try:
        for value in _values(requests):
            _write(replies, ForkingPickler.dumps((True, value)))
    except Exception as error:
        _write(replies, _failure(error))
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking the libraries down in order takes a second and keeps their memory as long, and nothing is left to lose.
    os._exit(0)


def _values(requests: queue.SimpleQueue[bytes]) -> Iterator[Any]:
    """What the function returns, or everything that it yields."""
    name, arguments = ForkingPickler.loads(requests.get())
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    with nullcontext() if inspect.isgeneratorfunction(function) else _for_tracing():
        value = function(*arguments)
    if not isinstance(value, GeneratorType):
        yield value
        return
    answer = next(value)
    while True:
        yield answer
        answer = value.send(ForkingPickler.loads(requests.get()))


@contextmanager
def _for_tracing() -> Iterator[None]:
    """Settings for work that is done once; what is measured runs as its user would run it."""
    # Tracing makes millions of objects that live on: looking for garbage among them takes a third of the time.
    gc.set_threshold(1_000_000, 50, 100)
    with suppress(ImportError):
        from tqdm import tqdm

        # Else a bar makes a semaphore that is reported as leaked when the process ends early.
        tqdm.set_lock(threading.RLock())
    yield


def _failure(error: Exception) -> Any:
    """The message that raises the error there, with its traceback; in words where the error itself cannot travel."""
    error.add_note(traceback.format_exc())
    try:
        message = ForkingPickler.dumps((False, error))
        ForkingPickler.loads(message)
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(error.__notes__[-1])
        return ForkingPickler.dumps((False, told))
    return message


def _receive(stream: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    """Pass messages on; where they end the parent is gone, however it ended, and so is this process."""
    while (message := _read(stream)) is not None:
        requests.put(message)
    os._exit(1)
