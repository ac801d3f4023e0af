"""Which of the rows that wait run next: none lost, none twice, nobody behind more than one batch of longer ones."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from poolfold.serve.waiting import _BANDS, Rows, Waiting, _band

BATCH = 64


def rows(*lengths: int, key: object = "model", client: object = "a") -> Rows:
    return Rows(key=key, client=client, lengths=lengths)


REQUESTS = st.builds(
    Rows,
    key=st.sampled_from(("model", "other")),
    client=st.sampled_from("abc"),
    lengths=st.lists(st.sampled_from((3, 9, 20, 30, 40, 100, 200, 300, 3000)), min_size=1, max_size=8).map(tuple),
)
STEPS = st.lists(REQUESTS | st.just("take") | st.integers(0, 20), max_size=60)


@given(STEPS)
def test_each_row_is_taken_once_unless_it_is_dropped_and_waits_for_one_longer_batch_at_most(steps: list) -> None:
    waiting, put = Waiting(BATCH), []
    open_: dict[tuple[Rows, int], int] = {}

    def take() -> None:
        batch = waiting.take()
        assert bool(batch) == bool(open_)
        lengths = [rows.lengths[index] for rows, index in batch]
        assert len({rows.key for rows, _ in batch}) <= 1
        assert len({_band(length) // _BANDS for length in lengths}) <= 1
        assert len(batch) <= 1 or sum(lengths) <= BATCH
        for row in batch:
            del open_[row]  # raises where it was taken before
        for row, passed in open_.items():
            if lengths and _band(row[0].lengths[row[1]]) // _BANDS < _band(lengths[0]) // _BANDS:
                open_[row] = passed + 1
                assert passed == 0, "a row waited for two batches of much longer ones"

    for step in steps:
        if isinstance(step, Rows):
            waiting.put(step)
            put.append(step)
            open_ |= {(step, index): 0 for index in range(len(step.lengths))}
        elif step == "take":
            take()
        elif put:
            dropped = put[step % len(put)]
            waiting.drop(dropped)
            open_ = {row: passed for row, passed in open_.items() if row[0] is not dropped}
        assert len(waiting) == len(open_)
        assert waiting.tokens == sum(rows.lengths[index] for rows, index in open_)
    while open_:
        take()
    assert waiting.take() == []
    assert waiting.tokens == len(waiting) == 0


def test_a_request_of_one_text_does_not_wait_for_one_of_a_thousand() -> None:
    waiting, many, one = Waiting(BATCH), rows(*[10] * 1000), rows(10)
    waiting.put(many)
    waiting.take()
    waiting.put(one)
    assert (one, 0) in waiting.take()


def test_clients_take_turns_however_many_requests_one_of_them_has() -> None:
    waiting, one = Waiting(BATCH), rows(10, client="b")
    for _ in range(500):
        waiting.put(rows(10))
    waiting.take()
    waiting.put(one)
    assert (one, 0) in waiting.take()


def test_two_clients_of_many_texts_each_get_half() -> None:
    waiting = Waiting(BATCH)
    waiting.put(rows(*[8] * 400, client="a"))
    waiting.put(rows(*[8] * 400, client="b"))
    taken = Counter(rows.client for _ in range(50) for rows, _ in waiting.take())
    assert abs(taken["a"] - taken["b"]) <= BATCH // 8


def test_a_long_text_is_computed_though_short_ones_never_end() -> None:
    waiting, long = Waiting(BATCH), rows(4000)
    waiting.put(long)
    batches = 0
    while (long, 0) not in waiting.take():
        batches += 1
        for _ in range(10):
            waiting.put(rows(10, client="b"))
    assert batches < 100


def test_a_key_that_few_ask_for_gets_its_turn() -> None:
    waiting, other = Waiting(BATCH), rows(10, key="other")
    for _ in range(100):
        waiting.put(rows(10))
    waiting.put(other)
    batches = [waiting.take() for _ in range(len(waiting))]
    assert [(other, 0)] in batches[:20]
