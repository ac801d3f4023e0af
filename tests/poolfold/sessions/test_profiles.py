"""Which profile takes a batch, and in which pieces: properties over all shapes, and exact answers for some."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolfold.errors import InputError
from poolfold.manifest import Profile, Range
from poolfold.sessions.profiles import Piece, cut, split_batch


def profile(batch: tuple[int, int, int], seq: tuple[int, int, int]) -> Profile:
    return Profile(
        batch=Range(min=batch[0], opt=batch[1], max=batch[2]), seq_len=Range(min=seq[0], opt=seq[1], max=seq[2])
    )


def rising(most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, most), min_size=3, max_size=3).map(lambda numbers: tuple(sorted(numbers)))


PROFILES = st.lists(st.builds(profile, rising(70), rising(600)), min_size=1, max_size=5)


@given(PROFILES, st.integers(1, 300), st.integers(1, 600))
def test_every_piece_is_within_the_profile_and_the_pieces_are_the_batch(
    profiles: list[Profile], batch: int, seq: int
) -> None:
    if seq > max(p.seq_len.max for p in profiles):
        with pytest.raises(InputError, match=f"has {seq} tokens; this engine takes"):
            split_batch(profiles, batch, seq)
        return
    split = split_batch(profiles, batch, seq)
    taken = profiles[split.profile]
    for piece in split.pieces:
        assert taken.batch.min <= piece.batch <= taken.batch.max
        assert taken.seq_len.min <= piece.seq <= taken.seq_len.max
        assert piece.seq >= seq
        assert 0 < piece.stop - piece.start <= piece.batch
    assert [row for piece in split.pieces for row in range(piece.start, piece.stop)] == list(range(batch))


@given(PROFILES, st.integers(1, 300), st.integers(1, 600))
def test_no_other_profile_computes_less(profiles: list[Profile], batch: int, seq: int) -> None:
    fitting = [p for p in profiles if seq <= p.seq_len.max]
    if fitting:
        least = min(split_batch([p], batch, seq).places for p in fitting)
        assert split_batch(profiles, batch, seq).places == least


@given(rising(70), rising(600), st.integers(1, 300), st.integers(1, 600))
def test_pieces_are_as_few_and_as_even_as_can_be(
    batches: tuple[int, int, int], lengths: tuple[int, int, int], batch: int, seq: int
) -> None:
    if seq > lengths[2]:
        return
    pieces = split_batch([profile(batches, lengths)], batch, seq).pieces
    sizes = [piece.stop - piece.start for piece in pieces]
    assert len(pieces) == -(-batch // batches[2])
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("batch", "seq", "chosen", "pieces"),
    [
        (4, 10, 0, [(0, 4, 4, 16)]),  # rounded up to a multiple of 8
        (4, 32, 0, [(0, 4, 4, 32)]),
        (4, 33, 1, [(0, 4, 4, 40)]),
        (4, 100, 1, [(0, 4, 4, 100)]),  # the profile's end is no multiple of 8
        (9, 20, 0, [(0, 4, 4, 24), (4, 9, 5, 24)]),
        (1, 60, 1, [(0, 1, 2, 64)]),  # the second profile takes two rows at least
    ],
)
def test_the_shape_that_is_run(batch: int, seq: int, chosen: int, pieces: list[tuple[int, int, int, int]]) -> None:
    buckets = [profile((1, 4, 8), (1, 32, 32)), profile((2, 4, 8), (33, 64, 100))]
    split = split_batch(buckets, batch, seq)
    assert (split.profile, [tuple(vars(p).values()) for p in split.pieces]) == (chosen, pieces)


def test_short_texts_are_padded_up_to_the_least_length() -> None:
    assert split_batch([profile((1, 1, 8), (64, 64, 128))], 3, 5).pieces == (Piece(0, 3, 3, 64),)


@pytest.mark.parametrize(("batch", "seq", "chosen"), [(1, 32, 0), (32, 32, 1), (1, 120, 0), (32, 128, 1)])
def test_of_profiles_that_compute_as_much_the_nearest_is_taken(batch: int, seq: int, chosen: int) -> None:
    tuned = [profile((1, 1, 64), (1, 64, 128)), profile((1, 32, 64), (1, 64, 128))]
    assert split_batch(tuned, batch, seq).profile == chosen


def test_the_refusal_names_every_range() -> None:
    with pytest.raises(InputError, match=r"has 101 tokens; .* takes 1 to 32, 33 to 100\. .*poolfold build"):
        split_batch([profile((1, 4, 8), (1, 32, 32)), profile((1, 4, 8), (33, 64, 100))], 1, 101)


def test_a_piece_is_padded_behind_and_filled_with_its_first_row() -> None:
    ids = np.array([[0, 5], [6, 7], [8, 9]])
    mask = np.array([[0, 1], [1, 1], [1, 1]])
    cut_ids, cut_mask = cut(ids, mask, Piece(1, 3, 4, 3))
    np.testing.assert_array_equal(cut_ids, [[6, 7, 0], [8, 9, 0], [6, 7, 0], [6, 7, 0]])
    np.testing.assert_array_equal(cut_mask, [[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0]])
    assert cut_ids.dtype == cut_mask.dtype == np.int64
    cut_ids, cut_mask = cut(ids, mask, Piece(0, 1, 1, 4))
    np.testing.assert_array_equal(cut_ids, [[0, 5, 0, 0]])  # what is padded in front stays in front
    np.testing.assert_array_equal(cut_mask, [[0, 1, 0, 0]])
