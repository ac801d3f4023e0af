"""How alike vectors are: the numbers of sentence-transformers, without PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sentence_transformers.util.similarity import SimilarityFunction

import poolfold
from poolfold import Encoder, InputError
from poolfold.encoder.similarity import MEASURES, similarity, similarity_pairwise
from tests.artifacts import model_values, write_artifact

VALUES = st.floats(-8, 8, width=32).map(lambda value: 0.0 if abs(value) < 1e-3 else value)


def rows(count: st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(np.float32, st.tuples(count, st.just(5)), elements=VALUES)


@settings(max_examples=60, deadline=None)
@given(first=rows(st.integers(1, 6)), second=rows(st.integers(1, 6)), measure=st.sampled_from(MEASURES))
def test_scores_are_those_of_sentence_transformers(first: np.ndarray, second: np.ndarray, measure: str):
    theirs = SimilarityFunction.to_similarity_fn(measure)(first, second)
    got = similarity(first, second, measure)
    assert got.dtype == np.float32 and got.shape == (len(first), len(second))
    # Both take a distance from squares: near 0 its root keeps half the digits.
    np.testing.assert_allclose(got, theirs.numpy(), rtol=1e-4, atol=2e-2 if measure == "euclidean" else 1e-4)
    count = min(len(first), len(second))
    pairs = SimilarityFunction.to_similarity_pairwise_fn(measure)(first[:count], second[:count])
    np.testing.assert_allclose(
        similarity_pairwise(first[:count], second[:count], measure), pairs.numpy(), rtol=1e-4, atol=1e-4
    )


def test_a_vector_is_no_further_from_itself_than_rounding(encoder: Encoder):
    vectors = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)
    assert abs(np.diag(similarity(vectors, vectors, "euclidean"))).max() < 1e-5


@pytest.mark.parametrize("measure", MEASURES)
def test_vectors_in_any_form(measure: str):
    a, b = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    wanted = similarity(a, b, measure)
    tensor = similarity(torch.from_numpy(a), b, measure)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), wanted)
    np.testing.assert_array_equal(similarity(list(a), [torch.from_numpy(row) for row in b], measure).numpy(), wanted)
    assert similarity(a[0], b[0], measure).shape == (1, 1)
    assert similarity_pairwise(a[0], b[0], measure).shape == (1,)
    assert similarity(a[:0], b, measure).shape == (0, 3)


def test_vectors_that_do_not_match_are_refused():
    a = np.ones((3, 4), np.float32)
    with pytest.raises(InputError, match=r"shape \[3, 4\] and \[3, 2\]; expected \[rows, dim\] of one dim"):
        similarity(a, a[:, :2], "dot")
    with pytest.raises(InputError, match="got 3 and 2 vectors; expected as many of both"):
        similarity_pairwise(a, a[:2], "dot")
    with pytest.raises(InputError, match="expected \\[rows, dim\\]"):
        similarity(a[None], a, "dot")


@pytest.mark.parametrize("measure", MEASURES)
def test_the_measure_is_the_checkpoints(tmp_path: Path, measure: str):
    write_artifact(tmp_path / "DIR", model=model_values(similarity=measure))
    with poolfold.load(tmp_path / "DIR") as encoder:
        assert encoder.similarity_fn_name == measure
        vectors = encoder.encode(["w1 w2", "w3"])
        np.testing.assert_array_equal(encoder.similarity(vectors, vectors), similarity(vectors, vectors, measure))
        np.testing.assert_array_equal(
            encoder.similarity_pairwise(vectors, vectors), similarity_pairwise(vectors, vectors, measure)
        )
        encoder.similarity_fn_name = SimilarityFunction.MANHATTAN
        assert encoder.similarity_fn_name == "manhattan"
        encoder.similarity_fn_name = None
        assert encoder.similarity_fn_name == "cosine"
        with pytest.raises(InputError, match=r"is 'maxsim'; expected one of cosine, dot.*MultiVectorEncoder"):
            encoder.similarity_fn_name = "maxsim"
