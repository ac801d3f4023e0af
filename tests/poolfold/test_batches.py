"""Which rows run together, which texts are read together, and how much of a long list a call ever holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolfold import Encoder, InputError, load
from poolfold.manifest import RunMemory
from poolfold.tokenise import Budget, batches, pieces
from poolfold.tokenise.batches import ENOUGH, TOKENS
from tests.artifacts import DIM, expected
from tests.poolfold.test_encoder import Recorded

LENGTHS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 9000)), max_size=60)
COSTS = st.builds(RunMemory, token_bytes=st.integers(0, 2**18), score_bytes=st.integers(0, 256), mask_bytes=st.just(16))
SHORT = RunMemory(token_bytes=1, score_bytes=0, mask_bytes=0)


@given(LENGTHS, st.integers(1, 64), st.integers(1, 2**34), COSTS, st.integers(0, 600))
def test_every_row_runs_once_within_all_limits_or_alone(
    lengths: list[int], batch_size: int, memory: int, run: RunMemory, behind: int
) -> None:
    planned = list(batches(lengths, batch_size, Budget(memory, run), behind))
    assert sorted(index for batch in planned for index in batch) == list(range(len(lengths)))
    for batch in planned:
        longest = max(lengths[index] for index in batch)
        assert len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * longest <= TOKENS
        assert len(batch) == 1 or run.bytes_of(len(batch), longest, behind) <= memory


@given(LENGTHS, st.integers(1, 64), st.integers(1, 2**34), COSTS)
def test_a_batch_ends_only_where_one_row_more_would_break_a_limit(
    lengths: list[int], batch_size: int, memory: int, run: RunMemory
) -> None:
    planned = list(batches(lengths, batch_size, Budget(memory, run)))
    sizes = [lengths[index] for batch in planned for index in batch]
    assert sizes == sorted(lengths, reverse=True)
    for batch in planned[:-1]:
        more, longest = len(batch) + 1, lengths[batch[0]]
        full = more > batch_size or more * longest > TOKENS or run.bytes_of(more, longest) > memory
        following = sizes[sum(map(len, planned[: planned.index(batch) + 1]))]
        assert full or (len(batch) * longest >= ENOUGH and 2 * following < longest)


@given(LENGTHS, st.integers(1, 64))
def test_without_a_budget_only_the_rows_count(lengths: list[int], batch_size: int) -> None:
    planned = list(batches(lengths, batch_size))
    assert all(len(batch) == batch_size for batch in planned[:-1])
    assert sum(map(len, planned)) == len(lengths)


def test_a_mixed_corpus() -> None:
    """Exact: long rows alone, two like each other together, and no short one with them."""
    run = RunMemory(token_bytes=2**16, score_bytes=48, mask_bytes=8)
    lengths = [128] * 32 + [6000, 900, 1000, 700]
    long, short = [[32], [34, 33], [35]], [list(range(16)), list(range(16, 32))]
    assert list(batches(lengths, 32, Budget(2**30, run))) == [*long, *short]
    # 1000 and 900 tokens take 232 MiB together.
    assert list(batches(lengths, 32, Budget(150 * 2**20, run))) == [[32], [34], [33], [35], *short]
    # Short rows keep company whatever their lengths, until there is enough to do.
    assert list(batches([40, 19, 9, 3], 32, Budget(2**30, run))) == [[0, 1, 2, 3]]
    assert list(batches([200, 3, 190, 4, 180, 5], 32, Budget(2**30, run))) == [[0, 2, 4], [5, 3, 1]]


@given(st.lists(st.text(max_size=30), max_size=40), st.integers(1, 8), st.integers(1, 60))
def test_pieces_keep_the_order_and_both_bounds(texts: list[str], most: int, characters: int) -> None:
    cut = list(pieces(iter(texts), most, characters))
    assert [text for piece in cut for text in piece] == texts
    assert all(1 <= len(piece) <= most for piece in cut)
    assert all(len(piece) == 1 or sum(map(len, piece)) <= characters for piece in cut)


def test_what_a_run_takes() -> None:
    run = RunMemory(token_bytes=1000, score_bytes=48, mask_bytes=8)
    assert run.bytes_of(2, 10) == 2 * 10 * 1000 + 2 * 10 * 10 * 56
    assert run.bytes_of(2, 10, behind=5) == 2 * 10 * 1000 + 2 * 10 * 15 * 56


@pytest.mark.parametrize(("given_to_call", "given_to_load", "rows"), [(None, 12, 2), (18, 12, 3), (1, None, 1)])
def test_the_calls_budget_wins_over_the_encoders(
    encoder: Encoder, given_to_call: int | None, given_to_load: int | None, rows: int
) -> None:
    """Six texts of 6 tokens, one byte each."""
    recorded = Recorded(encoder.session)
    tight = replace(encoder, session=recorded, run_memory=SHORT, memory=given_to_load)
    texts = [f"w{number} w2 w3 w4" for number in range(6)]
    np.testing.assert_array_equal(tight.encode(texts, memory=given_to_call), expected(texts))
    assert recorded.shapes == [(rows, 6)] * (6 // rows)


def test_ids_are_cut_by_memory_alone(encoder: Encoder) -> None:
    recorded = Recorded(encoder.session)
    ids = np.array([[6 + number, 7, 8] for number in range(7)])
    tight = replace(encoder, session=recorded, run_memory=SHORT, memory=9)
    mask = np.ones_like(ids)
    np.testing.assert_array_equal(tight.embed(ids, mask), encoder.embed(ids, mask))
    assert recorded.shapes == [(3, 3), (3, 3), (1, 3)]


def many(count: int) -> Iterator[str]:
    return (" ".join([f"w{index % 26}"] * (1 + index % 3)) for index in range(count))


@pytest.mark.parametrize("listed", [True, False])
def test_many_texts_are_read_as_they_are_needed(encoder: Encoder, listed: bool) -> None:
    count, read, ahead = 10_000, 0, []

    def reading() -> Iterator[str]:
        nonlocal read
        for text in many(count):
            read += 1
            yield text

    vectors = encoder.encode(
        list(many(count)) if listed else reading(), progress=lambda done: ahead.append(read - done)
    )
    np.testing.assert_array_equal(vectors, expected(list(many(count))))
    assert vectors.shape == (count, DIM) and vectors.dtype == np.float32
    assert vectors.base is None and vectors.flags.owndata
    assert len(ahead) >= count / 32 and (listed or max(ahead) <= 4096)


def test_a_long_text_is_read_alone(encoder: Encoder) -> None:
    texts = ["w1", "w2 " * 800_000, "w3"]
    np.testing.assert_array_equal(encoder.encode(iter(texts)), expected(texts))


@pytest.mark.parametrize("bad", [None, "w1 \ud800"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_bad_text_at_the_end_is_named_and_nothing_is_returned(
    encoder: Encoder, bad: str | None, listed: bool
) -> None:
    texts = [*many(5000), bad]
    done: list[int] = []
    with pytest.raises(InputError, match=r"text 5000 (is of type NoneType|holds a lone surrogate)"):
        encoder.encode(texts if listed else iter(texts), progress=done.append)  # type: ignore[arg-type]
    # What can be read twice is checked for its types before anything is computed.
    assert not done or not (listed and bad is None)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_long_and_short_texts_have_the_vectors_that_they_have_alone(openvino_artifact: Path, target: str) -> None:
    rng = np.random.default_rng(3)
    lengths = [*rng.integers(1, 6, 40), *rng.integers(6, 60, 8), 200, 200]
    texts = [" ".join(rng.choice(["red", "green", "a", "house"], length)) for length in lengths]
    with load(openvino_artifact, target=target, threads=1) as encoder:
        assert encoder.run_memory is not None and encoder.run_memory.token_bytes > 0
        recorded = Recorded(encoder.session)
        encoder = replace(encoder, session=recorded)
        alone = np.concatenate([encoder.encode([text]) for text in texts])
        shapes = []
        for memory in (None, 2**20, 1):
            recorded.shapes.clear()
            assert np.abs(encoder.encode(texts, memory=memory) - alone).max() <= 1e-6
            shapes.append(len(recorded.shapes))
    assert shapes[0] < shapes[1] < shapes[2] == len(texts)
