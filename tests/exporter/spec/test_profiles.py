"""Profiles from flags and from the lengths of texts: every length once, and no better choice of buckets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.spec.options import Shapes
from exporter.spec.profiles import choose_profiles, derive_buckets, from_buckets, one_range
from poolfold.errors import InputError
from poolfold.manifest import Profile, Range

BATCH = (1, 2, 4)
LIMITS = st.integers(1, 600)


def lengths_up_to(limit: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, limit), min_size=1, max_size=60)


def computed(buckets, lengths) -> int:
    return sum(min(bucket for bucket in buckets if bucket >= length) for length in lengths)


def test_one_range_reaches_up_to_the_models_limit():
    assert one_range(64, BATCH, None) == (
        Profile(batch=Range(min=1, opt=2, max=4), seq_len=Range(min=1, opt=64, max=64)),
    )
    assert one_range(512, BATCH, None)[0].seq_len == Range(min=1, opt=128, max=512)
    assert one_range(64, BATCH, (8, 16, 64))[0].seq_len == Range(min=8, opt=16, max=64)
    with pytest.raises(InputError, match=r"--seq-len 8:16:65 goes beyond the model's limit of 64"):
        one_range(64, BATCH, (8, 16, 65))


def test_buckets_by_hand():
    profiles = from_buckets(128, BATCH, (32, 100), [1, 32, 33, 100])
    assert [profile.seq_len for profile in profiles] == [
        Range(min=1, opt=32, max=32),
        Range(min=33, opt=100, max=100),
    ]
    assert [profile.share for profile in profiles] == [0.5, 0.5]
    assert {profile.share for profile in from_buckets(128, BATCH, (32, 100))} == {None}


@pytest.mark.parametrize("buckets", [(), (0, 8), (8, 8), (16, 8), (8, 129)])
def test_buckets_that_do_not_rise_within_the_limit_are_refused(buckets):
    with pytest.raises(InputError, match=r"--buckets got .*expected rising lengths from 1 to the model's limit of 128"):
        from_buckets(128, BATCH, buckets)


@given(LIMITS.flatmap(lambda limit: st.tuples(st.just(limit), lengths_up_to(limit))))
def test_derived_buckets_take_every_length_once_and_every_text(case):
    limit, lengths = case
    profiles = choose_profiles(limit, Shapes(BATCH, None, "auto"), lengths)
    taken = [n for profile in profiles for n in range(profile.seq_len.min, profile.seq_len.max + 1)]
    assert taken == list(range(1, limit + 1))
    assert 1 <= len(profiles) <= 6
    assert sum(profile.share for profile in profiles) == pytest.approx(1.0)
    for profile in profiles:
        seq = profile.seq_len
        assert profile.share * len(lengths) == pytest.approx(sum(seq.min <= n <= seq.max for n in lengths))
        assert seq.max % 8 == 0 or seq.max == limit


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_no_other_buckets_of_that_number_compute_fewer_tokens(lengths):
    found = derive_buckets(40, lengths)
    others = itertools.combinations([8, 16, 24, 32], len(found) - 1)
    assert computed(found, lengths) == min(computed((*other, 40), lengths) for other in others)


def test_a_bucket_that_saves_little_is_not_made():
    # All texts alike: one bucket for them, one for whatever else comes.
    assert derive_buckets(512, [30] * 100) == (32, 512)
    assert derive_buckets(32, [30] * 100) == (32,)
    assert derive_buckets(512, [512] * 99 + [500]) == (512,)


def test_flags_that_exclude_each_other_or_lack_texts_are_refused():
    with pytest.raises(InputError, match=r"--buckets and --seq-len"):
        choose_profiles(64, Shapes(BATCH, (1, 8, 64), (8, 64)), [])
    with pytest.raises(InputError, match=r"--buckets auto .*--texts FILE"):
        choose_profiles(64, Shapes(BATCH, None, "auto"), [])
