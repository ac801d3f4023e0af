"""Requests' rows -> batches, computed in threads. Whatever waits when a thread is free forms the next batch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from poolfold.errors import PoolfoldError
from poolfold.serve.waiting import Rows, Waiting, by_length

_log = logging.getLogger(__name__)
_LONGEST_RETRY_S = 60
_MEMORY = 0.9
"""Of the rate of tokens that is known, what a batch leaves of it."""

Compute = Callable[[Sequence[Sequence[int]], Sequence[str]], Iterable[tuple[int, Any]]]
"""Rows of ids and their names -> the index of each row and what it gives, in any order."""


class Full(Exception):
    """More waits than may wait.

    seconds: after which there will be room, as far as is known.
    """

    def __init__(self, seconds: int) -> None:
        """Keep the time."""
        super().__init__(f"the queue is full. Try again in {seconds} s.")
        self.seconds = seconds


@dataclass(eq=False, kw_only=True)
class Work(Rows):
    """The rows of one request, and what becomes of them.

    ids: of each row.
    names: of each row, for messages.
    compute: the same for all work of one key.
    made: what each row gave.
    done: set once all are there, or one failed; belongs to `loop`.
    """

    ids: Sequence[Sequence[int]]
    names: Sequence[str]
    compute: Compute
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[list[Any]]
    made: list[Any] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is made yet."""
        self.made, self.left = [None] * len(self.ids), len(self.ids)


class Batcher:
    """A queue and the threads that compute what is in it. Safe to call from any thread.

    told: told of each batch, its tokens, its places with padding and its seconds.
    """

    def __init__(
        self, workers: int, *, batch_tokens: int, most_waiting: int, told: Callable[[int, int, float], None]
    ) -> None:
        """Start the threads."""
        self._waiting, self._most, self._told = Waiting(batch_tokens), most_waiting, told
        self._changed = threading.Condition()
        self._closed, self._rate, self._workers = False, 0.0, workers
        self._threads = [
            threading.Thread(target=self._serve, name=f"compute-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def texts(self) -> int:
        """That wait."""
        with self._changed:
            return len(self._waiting)

    @property
    def tokens(self) -> int:
        """Of the texts that wait."""
        return self._waiting.tokens

    def require_room(self, tokens: int = 1) -> None:
        """Raise Full where so many tokens more may not wait. A request that finds nothing waiting always may."""
        waiting = self._waiting.tokens
        if waiting and waiting + tokens > self._most:
            rate = self._rate * self._workers
            seconds = math.ceil((waiting + tokens - self._most) / rate) if rate else 1
            raise Full(min(max(1, seconds), _LONGEST_RETRY_S))

    def submit(self, work: Work) -> None:
        """Have work done; raises Full."""
        with self._changed:
            self.require_room(sum(work.lengths))
            self._waiting.put(work)
            self._changed.notify(1 if len(work.ids) == 1 else self._workers)

    def drop(self, work: Work) -> None:
        """Free the places of work that nobody waits for any more."""
        with self._changed:
            self._waiting.drop(work)

    def close(self) -> None:
        """End the threads, each after its batch."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while batch := self._next():
            self._run(batch)

    def _next(self) -> list[tuple[Work, int]]:
        """The next batch, as soon as there is one; nothing once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting))
            return [] if self._closed else cast("list[tuple[Work, int]]", self._waiting.take())

    def _run(self, batch: Sequence[tuple[Work, int]]) -> None:
        """Compute a batch. Where it fails, each of its texts is computed alone, so that one fails its own request."""
        rows, names = [work.ids[index] for work, index in batch], [work.names[index] for work, index in batch]
        began, open_ = time.perf_counter(), set(range(len(batch)))
        try:
            for run in by_length([len(row) for row in rows]):
                for at, made in batch[0][0].compute([rows[i] for i in run], [names[i] for i in run]):
                    open_.discard(run[at])
                    self._give(*batch[run[at]], made)
        except PoolfoldError as error:
            if len(batch) == 1:
                self._fail(batch[0][0], error)
            else:
                for place in sorted(open_):
                    self._run([batch[place]])
            return
        except Exception as error:
            _log.exception("a batch failed", extra={"texts": len(batch)})
            for work in {id(batch[place][0]): batch[place][0] for place in open_}.values():
                self._fail(work, error)
            return
        seconds, tokens = time.perf_counter() - began, sum(map(len, rows))
        rate = tokens / max(seconds, 1e-6)
        self._rate = rate if not self._rate else _MEMORY * self._rate + (1 - _MEMORY) * rate
        places = sum(len(run) * max(len(rows[i]) for i in run) for run in by_length([len(row) for row in rows]))
        self._told(tokens, places, seconds)

    def _give(self, work: Work, index: int, made: Any) -> None:
        with self._changed:
            work.made[index] = made
            work.left -= 1
            left = work.left
        if not left:
            _settle(work, lambda: work.done.set_result(work.made))

    def _fail(self, work: Work, error: Exception) -> None:
        self.drop(work)
        _settle(work, lambda: work.done.set_exception(error))


def _settle(work: Work, settle: Callable[[], None]) -> None:
    """Set the result in its loop, unless it has one or its loop is gone."""
    with contextlib.suppress(RuntimeError):
        work.loop.call_soon_threadsafe(lambda: None if work.done.done() else settle())
