"""Several processes that embed: each loads the artifact by its path, and takes pieces of the texts from a queue."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from poolfold.encoder.call import Call
from poolfold.encoder.progress import Tell
from poolfold.errors import InputError, PoolfoldError, TargetUnavailable
from poolfold.sessions.threads import default_threads
from poolfold.tokenise import Input

if TYPE_CHECKING:
    from poolfold.encoder.encoder import Encoder

_LARGEST_CHUNK, _CHUNKS_A_WORKER = 5000, 10
_LOOK_AFTER_S = 1.0
"""How long an answer is waited for before a look at whether the workers live."""
_STOP_S = 5.0

_USUAL = 4
"""Processes where nobody says how many."""

Pool = dict[str, Any]
"""`input` and `output`, queues; `processes`, as sentence-transformers has them; `lock`, held by the call that waits."""


def start_pool(again: Callable[[], Encoder], workers: int) -> Pool:
    """Start processes, each with its share of the threads that one encoder takes.

    Args:
        again: loads the encoder.
        workers: how many.
    """
    import multiprocessing  # a tenth of what all of poolfold takes to import

    # Threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    given, answers = context.Queue(), context.Queue()
    threads = max(1, default_threads() // workers)
    processes = [
        context.Process(target=_work, args=(again, threads, given, answers), daemon=True) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    return {"input": given, "output": answers, "processes": processes, "lock": threading.Lock()}


@contextlib.contextmanager
def pool_of(encoder: Encoder, pool: Pool | None, device: str | Sequence[str] | None) -> Iterator[Pool | None]:
    """The processes of a call: the caller's, those of its list of devices until the block ends, or none.

    Raises:
        InputError: another device than the encoder's.
    """
    several = device is not None and not isinstance(device, str) and isinstance(device, Sequence)
    if pool is not None or not several:
        if device is not None:
            count_devices(encoder, [str(device)])
        yield pool
        return
    started = encoder.start_multi_process_pool(device)
    try:
        yield started
    finally:
        stop_pool(started)


def count_devices(encoder: Encoder, devices: Sequence[str] | None) -> int:
    """How many there are; None for four.

    Raises:
        InputError: none, or another one than the encoder computes on.
    """
    if devices is None:
        return _USUAL
    here = encoder.device_name
    for name in map(str, devices):
        if name not in (here, here.partition(":")[0]):
            raise InputError(
                f"got device {name!r}, and this encoder computes on {here}. Leave it out, or load the artifact with "
                "provider and gpu."
            )
    if not devices:
        raise InputError("got no device; expected one for each process, such as ['cpu', 'cpu'].")
    return len(devices)


def stop_pool(pool: Pool) -> None:
    """End the processes, and wait until they have ended. Stopping twice does nothing."""
    for process in pool["processes"]:
        process.terminate()
    for process in pool["processes"]:
        process.join(_STOP_S)
    for name in ("input", "output"):
        pool[name].close()
        # What a worker no longer takes is not waited for.
        pool[name].cancel_join_thread()


def map_in_pool(
    pool: Pool,
    method: str,
    texts: Sequence[Input],
    call: Call,
    chunk_size: int | None,
    tell: Tell | None,
) -> list[Any]:
    """What the encoder's `method` gives for each piece of the texts, in order.

    Raises:
        PoolfoldError: what a worker raised; the first one of the texts.
        TargetUnavailable: a worker died.
    """
    if not isinstance(pool, dict) or not pool.keys() >= {"input", "output", "processes", "lock"}:
        raise InputError(f"pool is of type {type(pool).__name__}; expected what start_multi_process_pool gave.")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise InputError(f"chunk_size is {chunk_size!r}; expected a whole number, 1 or more.")
    share = -(-len(texts) // (len(pool["processes"]) * _CHUNKS_A_WORKER))
    size = chunk_size or max(1, min(share, _LARGEST_CHUNK))
    starts = range(0, len(texts), size)
    # An answer to a call that was interrupted is still on its way.
    ticket = uuid.uuid4().hex
    answers: dict[int, Any] = {}
    done = 0
    with pool["lock"]:
        for start in starts:
            pool["input"].put((ticket, method, list(texts[start : start + size]), start, call))
        while len(answers) < len(starts):
            start, answer = _next_answer(pool, ticket)
            answers[start] = answer
            done += min(size, len(texts) - start)
            if tell is not None:
                tell(done)
    for start in starts:
        if isinstance(answers[start], BaseException):
            raise answers[start]
    return [answers[start] for start in starts]


def _next_answer(pool: Pool, ticket: str) -> tuple[int, Any]:
    while True:
        try:
            of, start, answer = pool["output"].get(timeout=_LOOK_AFTER_S)
        except queue.Empty:
            dead = [process for process in pool["processes"] if not process.is_alive()]
        else:
            if of == ticket:
                return start, answer
            continue
        if dead:
            told = ", ".join(f"{process.pid} (exit code {process.exitcode})" for process in dead)
            raise TargetUnavailable(
                f"of the processes of the pool {told} died. Stop the pool and start another; with fewer processes, if "
                "memory ran out."
            )


def _work(again: Callable[[], Encoder], threads: int, given: Any, answers: Any) -> None:
    """Embed pieces until the process is ended from outside."""
    os.environ.setdefault("POOLFOLD_THREADS", str(threads))
    failed: Exception | None = None
    encoder: Encoder | None = None
    try:
        encoder = again()
    except Exception as error:
        failed = error
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            ticket, method, texts, start, call = given.get()
            try:
                if encoder is None:
                    raise failed or RuntimeError("no encoder")
                answers.put((ticket, start, getattr(encoder, method)(texts, call, start)))
            except PoolfoldError as error:
                answers.put((ticket, start, error))
            except Exception as error:  # one that cannot be pickled would be lost on the way, and waited for
                answers.put((ticket, start, RuntimeError(f"{type(error).__name__}: {error}")))
