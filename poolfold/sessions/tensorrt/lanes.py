"""A bounded pool of lanes: each is lent to one thread at a time and made when first needed. Independent of runtimes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from poolfold.errors import InputError
from poolfold.sessions import CLOSED


class Lane(Protocol):
    """A resource that one thread at a time uses."""

    def free(self) -> None:
        """Free its memory."""
        ...


L = TypeVar("L", bound=Lane)


class Lanes(Generic[L]):
    """At most `most` lanes; a thread waits while none is idle. Safe to share between threads."""

    def __init__(self, make: Callable[[], L], most: int) -> None:
        """Make none yet."""
        self._make = make
        self._most = most
        self._idle: list[L] = []
        self._made = 0
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self) -> Iterator[L]:
        """Lend a lane to this thread alone. A lane whose use raised an error is freed and not lent again.

        Raises:
            InputError: the pool is closed.
        """
        lane = self._take()
        try:
            yield lane
        except BaseException:
            try:
                lane.free()
            finally:
                self._forget()
            raise
        self._give_back(lane)

    def _take(self) -> L:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._made < self._most)
            if self._closed:
                raise InputError(CLOSED)
            if self._idle:
                return self._idle.pop()  # the last one used, whose memory is most likely cached
            self._made += 1
        try:
            return self._make()
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        with self._changed:
            self._made -= 1
            self._changed.notify()

    def _give_back(self, lane: L) -> None:
        with self._changed:
            if not self._closed:
                self._idle.append(lane)
                self._changed.notify()
                return
        lane.free()

    def close(self) -> None:
        """Free idle lanes now and lanes in use once they are given back. Closing twice does nothing."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for lane in idle:
            lane.free()
