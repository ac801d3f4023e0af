"""Comparison of vectors against answers worked out by hand, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.parity.compare import LIMITS, NEIGHBOURS, compare, cosines, int8_limits
from exporter.spec.model import DType
from poolfold.sessions.outputs import refused_rows

TIE = LIMITS[DType.FP32].tie


def random_rows(rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def on_circle(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane, whose cosines are those of their angles' differences."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_limits_are_those_that_artifacts_are_held_to():
    fp32, fp16, bf16 = (LIMITS[dtype] for dtype in (DType.FP32, DType.FP16, DType.BF16))
    assert {*LIMITS, DType.INT8, DType.FP8} == set(DType)
    assert (fp32.cosine, fp32.difference, fp32.neighbours, fp32.same_text) == (1 - 1e-6, 1e-5, 1.0, 1 - 1e-6)
    assert (fp16.cosine, fp16.difference, fp16.neighbours, fp16.same_text) == (0.999, None, 0.99, 0.9999)
    for limits in LIMITS.values():
        assert limits.behind_prompt == limits.same_text
        assert limits.mean is limits.neighbours_mean is None, "the worst text is judged, and no average"
    assert (bf16.cosine, bf16.difference, bf16.neighbours, bf16.same_text) == (0.995, None, 0.99, 0.999)


def test_int8_is_held_to_its_floor_and_to_averages():
    limits = int8_limits(0.98)
    assert (limits.cosine, limits.behind_prompt, limits.mean) == (0.98, 0.98, 0.99)
    assert (limits.neighbours, limits.neighbours_mean, limits.same_text) == (None, 0.9, 0.999)


def test_values_by_hand():
    reference = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    candidate = np.array([[4.0, 3.0], [5.0, 0.0], [0.0, -1.0]], dtype=np.float32)
    found = compare(reference, candidate, TIE)
    np.testing.assert_allclose(found.cosine, [0.96, 1.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(found.difference, [0.2, 0.0, 2.0], atol=1e-12)
    assert not found.unusable.any()


@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 9), st.floats(1e-3, 1e3))
def test_scale_changes_nothing_and_equal_vectors_agree_entirely(rows, dim, seed, scale):
    vectors = random_rows(rows, dim, seed)
    found = compare(vectors, vectors * np.float32(scale), TIE)
    assert found.cosine.min() > 1 - 1e-12
    assert found.difference.max() < 1e-6
    assert found.neighbours.min() == 1.0


@settings(max_examples=50)
@given(st.integers(3, 40), st.data())
def test_a_row_is_judged_by_itself(rows, data):
    """Whichever row is replaced, its cosine shows it, and the other rows' cosines do not move."""
    row = data.draw(st.integers(0, rows - 1))
    reference = random_rows(rows)
    candidate = reference.copy()
    candidate[row] = -reference[row]
    found = compare(reference, candidate, TIE)
    assert found.cosine.argmin() == row
    assert found.cosine[row] == pytest.approx(-1)
    assert np.delete(found.cosine, row).min() > 1 - 1e-12


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_an_unusable_row_gets_the_worst_values_and_disturbs_no_other_row(value):
    reference = random_rows(20)
    candidate = reference.copy()
    candidate[4] = value
    found = compare(reference, candidate, TIE)
    assert found.unusable.tolist() == [row == 4 for row in range(20)]
    assert (found.cosine[4], found.difference[4], found.neighbours[4]) == (-1.0, 2.0, 0.0)
    others = np.arange(20) != 4
    assert found.cosine[others].min() > 1 - 1e-12
    assert np.isfinite(found.neighbours).all()


def test_one_nan_makes_a_row_unusable_and_one_value_that_is_not_zero_does_not():
    rows = np.zeros((3, 4), dtype=np.float32)
    rows[0] = [1, 2, np.nan, 4]
    rows[1] = [0, 0, 1e-30, 0]
    assert refused_rows(rows).tolist() == [True, False, True]
    np.testing.assert_array_equal(cosines(rows, rows), [-1.0, 1.0, -1.0])


def test_a_neighbour_that_is_lost_and_one_that_intrudes_both_count():
    """12 texts, so 10 of each text's 11 others are its neighbours, and exactly one is not."""
    assert NEIGHBOURS == 10
    angles = [0.0, *np.linspace(10, 100, 10), 150.0]
    reference = on_circle(*angles)
    swapped = on_circle(*angles[:10], 150.0, 100.0)
    found = compare(reference, swapped, TIE)
    # To the first text, the one at 100 degrees was a neighbour and the one at 150 was not; now it is the other way.
    assert found.neighbours[0] == pytest.approx(0.9)
    # The order among the neighbours does not matter.
    reordered = on_circle(0.0, *angles[1:11][::-1], 150.0)
    assert compare(reference, reordered, TIE).neighbours[0] == 1.0


def test_a_strong_neighbour_lost_among_ties_counts():
    """The candidate's neighbours are all tied with the last one of the reference's, and yet the nearest is missing."""
    reference = on_circle(0.0, 1.0, *[60.0] * 12)
    candidate = on_circle(0.0, 170.0, *[60.0] * 12)
    assert compare(reference, candidate, TIE).neighbours[0] == pytest.approx(0.9)


def test_an_intruder_counts_although_every_true_neighbour_is_still_near():
    reference = on_circle(0.0, 170.0, *[60.0] * 12)
    candidate = on_circle(0.0, 1.0, *[60.0] * 12)
    assert compare(reference, candidate, TIE).neighbours[0] == pytest.approx(0.9)


@pytest.mark.parametrize(("gap", "agree"), [(0.5, 1.0), (2.0, 0.9)])
def test_neighbours_within_the_tie_agree_and_beyond_it_do_not(gap, agree):
    """The tenth and the eleventh neighbour change places; their similarities to text 0 differ by `gap` ties."""
    tie = 1e-3
    tenth = 0.3
    angles = np.degrees(np.arccos([1.0, *np.linspace(0.9, 0.5, 9), tenth, tenth - gap * tie]))
    reference, candidate = on_circle(*angles), on_circle(*angles[:10], angles[11], angles[10])
    assert compare(reference, candidate, tie).neighbours[0] == pytest.approx(agree)


def test_more_rows_than_one_block_give_what_one_block_gives():
    reference = random_rows(700)
    candidate = reference + 0.3 * random_rows(700, seed=1)
    whole = compare(reference, candidate, TIE).neighbours
    similarity = [(v / np.linalg.norm(v, axis=1, keepdims=True)) for v in (reference, candidate)]
    near = []
    for unit in similarity:
        products = unit @ unit.T
        np.fill_diagonal(products, -2)
        near.append(np.argsort(-products, axis=1)[:, :NEIGHBOURS])
    expected = [len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(*near, strict=True)]
    np.testing.assert_allclose(whole, expected, atol=1e-9)
    assert 0 < whole.min() < whole.max() < 1.01


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (random_rows(4), random_rows(5)),
        (random_rows(4, 8), random_rows(4, 9)),
        (random_rows(1), random_rows(1)),
        (random_rows(4)[0], random_rows(4)[0]),
        (np.full((4, 8), np.nan), random_rows(4)),
        (np.zeros((4, 8)), random_rows(4)),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, candidate):
    with pytest.raises(ValueError, match=r"expected one \[texts, dim\]|not finite or are zero"):
        compare(reference, candidate, TIE)
