"""How close a student is to its teacher: exact answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from exporter.distillation.effect import closeness


def vectors(count: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)


def test_the_same_vectors_are_as_close_as_can_be() -> None:
    found = closeness(vectors() * 3, vectors())
    assert found.texts == 60
    assert (found.cosine, found.spearman, found.neighbours) == pytest.approx((1, 1, 1))


def test_turned_vectors_are_elsewhere_and_lie_to_each_other_as_before() -> None:
    turned = vectors() @ special_ortho_group.rvs(8, random_state=0).astype(np.float32)
    found = closeness(turned, vectors())
    assert abs(found.cosine) < 0.5
    assert (found.spearman, found.neighbours) == pytest.approx((1, 1), abs=0.01)


def test_unrelated_vectors_share_what_chance_gives() -> None:
    found = closeness(vectors(200, seed=1), vectors(200, seed=2))
    assert abs(found.cosine) < 0.1
    assert abs(found.spearman) < 0.1
    assert found.neighbours < 0.15


@pytest.mark.slow
def test_many_texts_are_looked_at_in_part() -> None:
    assert closeness(vectors(2500), vectors(2500)).texts == 2000


def test_a_student_that_puts_every_text_in_one_place_has_no_order():
    """On some CPUs its similarities are the same to the bit, of which no correlation is defined."""
    student, teacher = np.tile(np.float32([1, *[0] * 7]), (20, 1)), vectors(20, 3)
    assert closeness(student, teacher).spearman == closeness(teacher, student).spearman == 0
