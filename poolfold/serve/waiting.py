"""Which of the rows that wait run next. No thread, no clock, no model.

Rows of one batch are of one key and of one class of lengths, and run by bands of lengths within it, so that little
padding is computed and a short row never runs as long as a long one. Three rules choose:

- By fair tags, in the tokens that everybody's requests have had on average so far: a row's tag is that of now, and what
  its request has before it, and a turn for each request that its client has waiting. So rows come in order, a request
  of a thousand texts and one of a single text take turns, and so do two clients however many requests they send.
- A row waits for at most one batch of much longer ones, of a higher class of lengths: those that were passed by one go
  first, the lowest class of them before the others. Not band by band: then short rows would always go first, and of 64
  clients' requests of 5 to 250 tokens one in a hundred waited half as long again.
- No row waits for ever: a tag never changes, and every batch moves what new ones begin with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

_LEAST_BAND = 4
"""Up to 16 tokens are of one band: a run of so few costs about the same whatever they are."""
_TURN = 16
"""Tokens that a request stands behind each other one of its client. The same whatever their lengths are: else those of
one client would overtake each other."""
_BANDS = 3
"""Of a class of lengths: up to 32 tokens, 256, 2048, and so on."""


@dataclass(eq=False, kw_only=True)
class Rows:
    """The rows of one request.

    key: rows of one key run together.
    client: whose they are.
    lengths: tokens of each, one row or more.
    """

    key: Hashable
    client: Hashable
    lengths: Sequence[int]
    _first: int = field(default=0, init=False, repr=False)
    _taken: set[int] = field(default_factory=set, init=False, repr=False)


class _Place(NamedTuple):
    """A row in a queue; the lowest tag is next, of equal ones the oldest."""

    tag: float
    number: int
    rows: Rows
    row: int


class Waiting:
    """The rows of all requests that no batch has taken yet.

    tokens: of all of them.
    """

    def __init__(self, batch_tokens: int) -> None:
        """Form batches of at most so many tokens; a longer row is one by itself."""
        self.tokens, self._rows = 0, 0
        self._batch_tokens = batch_tokens
        self._queues: dict[tuple[int, Hashable], list[_Place]] = {}
        self._of_client: Counter[Hashable] = Counter()
        self._now, self._number = 0.0, 0
        self._passed_before: dict[int, int] = {}
        self._passed: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._rows

    def put(self, rows: Rows) -> None:
        """Take the rows of a request."""
        others = self._of_client[rows.client]
        self._of_client[rows.client] += 1
        rows._first, reached = self._number, 0
        for index, length in enumerate(rows.lengths):
            tag = self._now + others * _TURN + (others + 1) * reached
            reached += length
            queue = self._queues.setdefault((_band(length), rows.key), [])
            heappush(queue, _Place(tag, self._number, rows, index))
            self._number += 1
        self.tokens += reached
        self._rows += len(rows.lengths)

    def take(self) -> list[tuple[Rows, int]]:
        """The rows of the next batch, each as its request and its index there; none where nothing waits."""
        if not self._queues:
            return []
        passed = [number for number, count in self._passed.items() if count]
        due = [at for at in self._queues if at[0] // _BANDS == min(passed)] if passed else self._queues
        band, key = min(due, key=lambda at: self._queues[at][0])
        together = [at for at in self._queues if at[1] == key and at[0] // _BANDS == band // _BANDS]
        self._now, requests = max(self._now, self._queues[band, key][0].tag), self._of_client.total()
        batch: list[tuple[Rows, int]] = []
        tokens = 0
        while together:
            at = min(together, key=lambda at: self._queues[at][0])
            rows, index = self._queues[at][0].rows, self._queues[at][0].row
            if batch and tokens + rows.lengths[index] > self._batch_tokens:
                break
            place = heappop(self._queues[at])
            if not self._queues[at]:
                del self._queues[at]
                together.remove(at)
            tokens += rows.lengths[index]
            self._leave(at[0], place.number)
            rows._taken.add(index)
            if len(rows._taken) == len(rows.lengths):
                self._end(rows)
            batch.append((rows, index))
        self.tokens -= tokens
        self._rows -= len(batch)
        self._now += tokens / requests
        self._pass(band)
        return batch

    def drop(self, rows: Rows) -> None:
        """Forget what waits of a request."""
        left = [index for index in range(len(rows.lengths)) if index not in rows._taken]
        if not left:
            return
        for band in {_band(rows.lengths[index]) for index in left}:
            at = band, rows.key
            kept = [place for place in self._queues[at] if place.rows is not rows]
            heapify(kept)
            self._queues[at] = kept
            if not kept:
                del self._queues[at]
        for index in left:
            self._leave(_band(rows.lengths[index]), rows._first + index)
            self.tokens -= rows.lengths[index]
        self._rows -= len(left)
        rows._taken.update(left)
        self._end(rows)

    def _pass(self, band: int) -> None:
        """Note which rows wait while a batch of much longer ones runs."""
        for lower in {at[0] // _BANDS for at in self._queues if at[0] // _BANDS < band // _BANDS}:
            self._passed_before[lower] = self._number
            self._passed[lower] = sum(len(queue) for at, queue in self._queues.items() if at[0] // _BANDS == lower)

    def _leave(self, band: int, number: int) -> None:
        if number < self._passed_before.get(band // _BANDS, 0):
            self._passed[band // _BANDS] -= 1

    def _end(self, rows: Rows) -> None:
        self._of_client[rows.client] -= 1
        if not self._of_client[rows.client]:
            del self._of_client[rows.client]


def by_length(lengths: Sequence[int]) -> list[list[int]]:
    """The indices of a batch's rows in runs, shortest first: lengths of one run differ by a factor of two at most."""
    runs: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        runs.setdefault(_band(length), []).append(index)
    return [runs[band] for band in sorted(runs)]


def _band(length: int) -> int:
    """Lengths of one band differ by a factor of two at most."""
    return max(_LEAST_BAND, (length - 1).bit_length())
