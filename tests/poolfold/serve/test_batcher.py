"""Threads that compute what waits: every row once, one bad text alone, and places that are free again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from poolfold.errors import InputError
from poolfold.serve.batcher import Batcher, Full, Work


def square(rows: Sequence[Sequence[int]], names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Give each row's first id, squared, last row first; a row of -1 fails its batch."""
    if [-1] in [list(row[:1]) for row in rows]:
        raise InputError("a bad row")
    for index in reversed(range(len(rows))):
        yield index, rows[index][0] ** 2


def made(batcher: Batcher, ids: Sequence[Sequence[int]], compute: Callable = square, client: str = "a") -> Work:
    loop = asyncio.get_running_loop()
    return Work(
        key="model",
        client=client,
        lengths=[len(row) for row in ids],
        ids=ids,
        names=[f"text {index}" for index in range(len(ids))],
        compute=compute,
        loop=loop,
        done=loop.create_future(),
    )


def batching(workers: int = 2, most_waiting: int = 10_000) -> Batcher:
    return Batcher(workers, batch_tokens=16, most_waiting=most_waiting, told=lambda *_: None)


@pytest.mark.parametrize("workers", [1, 3])
def test_each_request_gets_its_own_results_in_its_own_order(workers: int) -> None:
    async def run() -> None:
        with closing(batching(workers)) as batcher:
            works = [made(batcher, [[n, *[0] * (n % 5)] for n in range(k, k + 7)]) for k in range(200)]
            for work in works:
                batcher.submit(work)
            for first, work in enumerate(works):
                assert await work.done == [n * n for n in range(first, first + 7)]
            assert batcher.tokens == batcher.texts == 0

    asyncio.run(run())


def test_a_bad_text_fails_its_own_request_alone() -> None:
    async def run() -> None:
        with closing(batching(1)) as batcher:
            works = [made(batcher, [[n]]) for n in (1, -1, 3)] + [made(batcher, [[4], [-1], [5]])]
            for work in works:
                batcher.submit(work)
            found = await asyncio.gather(*(work.done for work in works), return_exceptions=True)
            assert found[0] == [1]
            assert found[2] == [9]
            assert isinstance(found[1], InputError)
            assert isinstance(found[3], InputError)
            assert batcher.tokens == 0

    asyncio.run(run())


def test_what_is_no_error_of_ours_fails_its_batch_and_the_thread_goes_on() -> None:
    def broken(*_: object) -> Iterator[tuple[int, int]]:
        raise ZeroDivisionError

    async def run() -> None:
        with closing(batching(1)) as batcher:
            bad, good = made(batcher, [[1]], broken), made(batcher, [[2]])
            batcher.submit(bad)
            with pytest.raises(ZeroDivisionError):
                await bad.done
            batcher.submit(good)
            assert await good.done == [4]

    asyncio.run(run())


def test_a_full_queue_refuses_and_dropped_work_makes_room() -> None:
    held = threading.Event()

    def slow(rows: Sequence[Sequence[int]], names: Sequence[str]) -> Iterator[tuple[int, int]]:
        held.wait(30)
        yield from square(rows, names)

    async def run() -> None:
        with closing(batching(1, most_waiting=8)) as batcher:
            running, waiting, more = (made(batcher, [[n] * 8], slow) for n in (1, 2, 3))
            batcher.submit(running)
            while batcher.tokens:
                await asyncio.sleep(0.001)
            batcher.submit(waiting)
            with pytest.raises(Full, match="Try again in 1 s"):
                batcher.submit(more)
            with pytest.raises(Full):
                batcher.require_room()
            batcher.drop(waiting)
            batcher.submit(more)
            held.set()
            assert await running.done == [1]
            assert await more.done == [9]
            assert not waiting.done.done()

    asyncio.run(run())


def test_an_idle_queue_takes_a_request_that_is_larger_than_it() -> None:
    async def run() -> None:
        with closing(batching(1, most_waiting=8)) as batcher:
            work = made(batcher, [[3] * 100])
            batcher.submit(work)
            assert await work.done == [9]

    asyncio.run(run())


def test_closing_does_not_wait_for_what_waits() -> None:
    async def run() -> None:
        batcher = batching(1)
        began = time.monotonic()
        for _ in range(100):
            batcher.submit(made(batcher, [[1] * 16], lambda rows, names: (time.sleep(0.2), square(rows, names))[1]))
        batcher.close()
        assert time.monotonic() - began < 10

    asyncio.run(run())
