"""A few of something costly, lent to one thread at a time and made when they are first needed. Knows no runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from poolfold.errors import InputError


class Lane(Protocol):
    """What one thread at a time uses."""

    def free(self) -> None:
        """Give back what it holds."""
        ...


L = TypeVar("L", bound=Lane)


class Lanes(Generic[L]):
    """At most `most` lanes; a thread that finds none idle waits. Safe to share between threads."""

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
        """A lane, for this thread alone. One in whose use an error was raised is freed and not lent again.

        Raises:
            InputError: it is closed.
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
                raise InputError("the encoder is closed; load the artifact again to go on")
            if self._idle:
                return self._idle.pop()  # the latest, whose memory is most likely still at hand
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
        """Free what is idle now, and what is in use once it is given back. Closing twice does nothing."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for lane in idle:
            lane.free()
