import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from poolfold.errors import InputError
from poolfold.sessions.by_padding import ByPadding

FULL, HALF = np.ones((2, 4), np.int64), np.array([[1, 1, 1, 1], [0, 0, 0, 0]])


class Numbered:
    """A session whose vectors are its number, and that counts what happens to it."""

    def __init__(self, number: float) -> None:
        self.number, self.runs, self.closed = number, 0, 0

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        if self.closed:
            raise InputError("the encoder is closed")
        self.runs += 1
        return np.full((len(input_ids), 1), self.number, np.float32)

    def close(self) -> None:
        self.closed += 1


def test_the_form_goes_by_the_share_of_tokens():
    plain, free = Numbered(1), Numbered(2)
    session = ByPadding(plain, lambda: free, faster_below=0.6)
    assert session.run(FULL, FULL)[0, 0] == 1
    assert session.run(FULL, HALF)[0, 0] == 2
    assert session.run(FULL[:1], FULL[:1])[0, 0] == 1  # a text alone has no padding


@pytest.mark.parametrize(("limit", "expected"), [(0.5, 1), (0.51, 2), (0.0, 1), (1.0, 2)])
def test_at_the_limit_the_plain_form_runs(limit: float, expected: int):
    session = ByPadding(Numbered(1), lambda: Numbered(2), faster_below=limit)
    assert session.run(FULL, HALF)[0, 0] == expected


def test_the_second_form_is_opened_once_and_only_when_it_is_needed():
    opened = []
    session = ByPadding(Numbered(1), lambda: opened.append(Numbered(2)) or opened[-1], faster_below=0.6)
    session.run(FULL, FULL)
    assert not opened
    start = threading.Barrier(8)

    def run(_: int) -> float:
        start.wait()
        return float(session.run(FULL, HALF)[0, 0])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(8))) == {2.0}
    assert [entry.runs for entry in opened] == [8]


def test_closing_frees_both_and_a_later_batch_opens_nothing():
    plain, free = Numbered(1), Numbered(2)
    session = ByPadding(plain, lambda: free, faster_below=0.6)
    session.run(FULL, HALF)
    session.close()
    assert (plain.closed, free.closed) == (1, 1)
    for mask in (FULL, HALF):
        with pytest.raises(InputError, match="closed"):
            session.run(FULL, mask)
    never = ByPadding(Numbered(1), lambda: pytest.fail("opened after the close"), faster_below=0.6)
    never.close()
    never.close()
    with pytest.raises(InputError, match="closed"):
        never.run(FULL, HALF)
