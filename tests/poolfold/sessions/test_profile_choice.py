"""Which profile runs a batch: every row once, in shapes that the profile takes, computing the fewest tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolfold.errors import InputError
from poolfold.manifest import Profile, Range
from poolfold.sessions.engine import fill
from poolfold.sessions.profile_choice import Piece, pieces


def ranges(largest: int) -> st.SearchStrategy[Range]:
    numbers = st.lists(st.integers(1, largest), min_size=3, max_size=3).map(sorted)
    return numbers.map(lambda n: Range(min=n[0], opt=n[1], max=n[2]))


PROFILES = st.lists(st.builds(Profile, batch=ranges(12), seq_len=ranges(40)), min_size=1, max_size=4)


def profile(batch: tuple[int, int, int], seq: tuple[int, int, int]) -> Profile:
    low, opt, high = batch
    return Profile(batch=Range(min=low, opt=opt, max=high), seq_len=Range(min=seq[0], opt=seq[1], max=seq[2]))


@given(PROFILES, st.integers(1, 30), st.integers(1, 40))
def test_every_row_once_and_every_piece_fits_its_profile(profiles, rows, tokens):
    if all(tokens > p.seq_len.max for p in profiles):
        with pytest.raises(InputError, match=rf"padded to {tokens} tokens; expected lengths .* poolfold build"):
            pieces(profiles, rows, tokens)
        return
    found = pieces(profiles, rows, tokens)
    assert [row for piece in found for row in range(piece.start, piece.stop)] == list(range(rows))
    for piece in found:
        chosen = profiles[piece.profile]
        assert chosen.batch.min <= piece.rows <= chosen.batch.max
        assert chosen.seq_len.min <= piece.tokens <= chosen.seq_len.max
        assert piece.rows >= piece.stop - piece.start
        assert piece.tokens >= tokens


@given(PROFILES, st.integers(1, 30), st.integers(1, 40))
def test_no_other_profile_computes_fewer_tokens(profiles, rows, tokens):
    able = [p for p in profiles if tokens <= p.seq_len.max]
    if able:
        computed = sum(piece.rows * piece.tokens for piece in pieces(profiles, rows, tokens))
        for other in able:
            assert computed <= sum(piece.rows * piece.tokens for piece in pieces([other], rows, tokens))


def test_buckets_by_hand():
    buckets = [profile((1, 8, 16), (1, 32, 32)), profile((1, 8, 16), (33, 64, 64)), profile((4, 4, 4), (1, 16, 16))]
    assert pieces(buckets, 3, 20) == (Piece(0, 0, 3, 3, 20),)
    assert pieces(buckets, 20, 40) == (Piece(1, 0, 16, 16, 40), Piece(1, 16, 20, 4, 40))
    # Four rows of nine tokens are computed alike in the first and the third; the third is tuned for less.
    assert pieces(buckets, 4, 9) == (Piece(2, 0, 4, 4, 9),)
    assert pieces([buckets[1]], 1, 5) == (Piece(0, 0, 1, 1, 33),)


@pytest.mark.parametrize("packed", [False, True])
def test_a_piece_is_filled_with_padding_and_with_rows_that_have_a_vector(packed):
    ids = np.array([[5, 6, 0], [7, 8, 9]], dtype=np.int64)
    mask = np.array([[1, 1, 0], [1, 1, 1]], dtype=np.int64)
    inputs = fill(Piece(0, 0, 2, 3, 4), ids, mask, packed=packed)
    assert inputs["input_ids"].tolist() == [[5, 6, 0, 0], [7, 8, 9, 0], [5, 6, 0, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert ("token_positions" in inputs) == packed
    if packed:
        assert inputs["token_positions"].tolist() == [[0, 1, 4, 5, 6, 8, 9]]
    assert {values.dtype for values in inputs.values()} == {np.dtype(np.int64)}
