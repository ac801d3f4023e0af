"""Run one function in a process of its own, and have its result here.

For work that needs large libraries: their memory is gone before graphs are built and engines compiled, and the caller
never imports them. The function is named, not passed, so that only the other process imports its module.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from types import ModuleType, TracebackType
from typing import Any, Self

from tqdm import tqdm

from exporter.host.libraries import keep_out
from poolfold.errors import CheckFailed


class OwnProcess:
    """A context manager: the process starts with the `with` block and never outlives it."""

    def __init__(
        self,
        function: str,
        *arguments: Any,
        variables: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
    ) -> None:
        """Name a `module:function`; its arguments and its result travel between the processes, so keep them plain.

        `variables` are added to its environment; the libraries `without` cannot be imported there.
        """
        self._what = function
        self._variables = dict(variables or {})
        # Not forked: a copy of this process would share its threads' locks and its memory.
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._sender = sender
        self._process = context.Process(target=_serve, args=(sender, function, arguments, without), daemon=True)

    def __enter__(self) -> Self:
        # Models go through sets of names while they are traced: with a seed the same checkpoint gives the same bytes.
        with (
            _environment(PYTHONSAFEPATH="1", PYTHONHASHSEED="0", **self._variables),
            _ctrl_c_held_back(),
            _no_main_module(),
        ):
            self._process.start()
        # Only the child holds the sending end now: should it die, `result` notices.
        self._sender.close()
        return self

    def result(self) -> Any:
        """Wait for the function's result, or raise what it raised.

        Raises:
            CheckFailed: the process died.
        """
        try:
            succeeded, value = self._receiver.recv()
        except EOFError:
            self._process.join()
            raise CheckFailed(
                f"The process that ran {self._what} died with exit code {self._process.exitcode}. "
                "-9 mostly means that memory ran out: free some, or use a larger machine."
            ) from None
        if not succeeded:
            raise value
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._receiver.close()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables for a process started in the block. PYTHONSAFEPATH: a signal.py in the user's folder stays out."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Hide the program that runs: a started process would import it, and so run a script that guards nothing again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """A process started in the block never gets Ctrl-C: its imports would answer with a traceback. We get it after."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # It starts with the first process, and would let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(sender: Connection, function: str, arguments: tuple[Any, ...], without: Sequence[str]) -> None:
    """What the process runs."""
    if without:
        keep_out(*without)
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Tracing makes millions of objects that live on: looking for garbage among them takes a third of the time.
    gc.set_threshold(1_000_000, 50, 100)
    # Else a bar makes a semaphore that is reported as leaked when the process ends early.
    tqdm.set_lock(threading.RLock())
    module, _, name = function.partition(":")
    try:
        message = ForkingPickler.dumps((True, getattr(importlib.import_module(module), name)(*arguments)))
    except Exception as error:
        message = _failure(error)
    sender.send_bytes(message)
    sender.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking the libraries down in order takes a second and keeps their memory as long, and nothing is left to lose.
    os._exit(0)


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


def _end_with_parent() -> None:
    """Follow the parent, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
