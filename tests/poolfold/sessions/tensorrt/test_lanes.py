"""Lanes under real threads: never lent twice, never more than allowed, all freed in the end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolfold.errors import InputError
from poolfold.sessions.tensorrt.lanes import Lanes


class Counted:
    """Counts its users and what was freed."""

    def __init__(self, all_of_them: list[Counted]) -> None:
        self.users = 0
        self.freed = 0
        all_of_them.append(self)

    def free(self) -> None:
        self.freed += 1


def test_threads_share_at_most_so_many_and_each_alone() -> None:
    made: list[Counted] = []
    lanes = Lanes(lambda: Counted(made), 3)
    together = threading.Barrier(3)

    def use(turn: int) -> int:
        with lanes.borrow() as lane:
            lane.users += 1
            seen = lane.users
            if turn < 3:
                together.wait(10)  # so that three are needed at once
            lane.users -= 1
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(200))) == {1}
    assert len(made) == 3
    lanes.close()
    assert [lane.freed for lane in made] == [1, 1, 1]


def test_one_thread_keeps_one() -> None:
    made: list[Counted] = []
    lanes = Lanes(lambda: Counted(made), 3)
    for _ in range(5):
        with lanes.borrow():
            pass
    assert len(made) == 1


def test_a_lane_that_failed_is_freed_and_replaced() -> None:
    made: list[Counted] = []
    lanes = Lanes(lambda: Counted(made), 1)
    with pytest.raises(ZeroDivisionError), lanes.borrow():
        raise ZeroDivisionError
    with lanes.borrow() as lane:
        assert lane is made[1]
    assert [lane.freed for lane in made] == [1, 0]


def test_a_lane_that_cannot_be_made_takes_no_place() -> None:
    made: list[Counted] = []
    fails = [True, False]

    def make() -> Counted:
        if fails.pop(0):
            raise MemoryError
        return Counted(made)

    lanes = Lanes(make, 1)
    with pytest.raises(MemoryError), lanes.borrow():
        pass
    with lanes.borrow():
        pass


def test_a_lane_in_use_is_freed_when_it_comes_back_and_waiters_are_told() -> None:
    made: list[Counted] = []
    lanes = Lanes(lambda: Counted(made), 1)
    waiting = threading.Event()

    def wait_for_one() -> str:
        waiting.set()
        try:
            with lanes.borrow():
                return "lent"
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(1) as pool, lanes.borrow():
        answer = pool.submit(wait_for_one)
        waiting.wait(10)
        lanes.close()
        assert "the encoder is closed" in answer.result(10)
        assert made[0].freed == 0
    assert made[0].freed == 1
    lanes.close()
    assert made[0].freed == 1
