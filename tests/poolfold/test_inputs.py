import itertools
from typing import Any

import numpy as np
import pytest

from poolfold import Encoder, InputError
from tests.artifacts import MAX_SEQ_LENGTH, WORDS, expected

VOCAB = len(WORDS)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", r"texts is one str; expected a list.*\[text\]"),
        (7, "texts is of type int"),
        (None, "texts is of type NoneType"),
        (["w1", None], "text 1 is of type NoneType; expected str"),
        (["w1", "w2", 3.5], "text 2 is of type float"),
        ([b"w1"], "text 0 is of type bytes"),
        ([["w1", "w2"]], "text 0 is of type list"),
        (["w1", "w\ud800"], "text 1 holds a lone surrogate"),
    ],
)
def test_texts_that_are_none(encoder: Encoder, texts: Any, message: str):
    with pytest.raises(InputError, match=message):
        encoder.encode(texts)


@pytest.mark.parametrize("batch_size", [0, -3, 2.5, "8", None])
def test_batch_sizes_that_are_none(encoder: Encoder, batch_size: Any):
    for texts in (["w1"], []):
        with pytest.raises(InputError, match="batch_size is"):
            encoder.encode(texts, batch_size)


def test_texts_of_any_collection(encoder: Encoder):
    texts = ["w1 w2", "w3"]
    for collection in (tuple(texts), iter(texts), np.array(texts), dict.fromkeys(texts)):
        np.testing.assert_array_equal(encoder.encode(collection), expected(texts))


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([2, 3], [1, 1], r"input_ids has shape \[2\]; expected \[batch, seq\]"),
        ([[[2, 3]]], [[[1, 1]]], r"input_ids has shape \[1, 2, 1\]|input_ids has shape \[1, 1, 2\]"),
        ([[2, 3], [2]], [[1, 1], [1, 0]], "input_ids is not rectangular"),
        ([[2, 3]], [[1, 1], [1]], "attention_mask is not rectangular"),
        ([[2.0, 3.0]], [[1, 1]], "input_ids is of type float64; expected integers"),
        ([[2, 3]], [[1.0, 1.0]], "attention_mask is of type float64"),
        ([[2, 3]], [[True, True]], "attention_mask is of type bool"),
        ([["w1", "w2"]], [[1, 1]], "input_ids is of type <U2"),
        ([[2, 3]], [[1, 1, 1]], r"shape \[1, 2\] and attention_mask \[1, 3\]"),
        ([[2, 3]], [[1, 1]] * 2, r"shape \[1, 2\] and attention_mask \[2, 2\]"),
        ([[], []], [[], []], "expected integers"),
        (np.zeros((2, 0), np.int64), np.zeros((2, 0), np.int64), "0 tokens a row; expected 1 to 16"),
        (np.ones((1, 17), np.int64), np.ones((1, 17), np.int64), "17 tokens a row; expected 1 to 16"),
        ([[2, 3], [2, VOCAB]], [[1, 1]] * 2, rf"holds {VOCAB} in row 1, column 1; expected \[0, {VOCAB}\)"),
        ([[-1, 3], [2, 3]], [[0, 1]] * 2, "holds -1 in row 0, column 0"),
        (np.array([[2, 2**63]], np.uint64), [[1, 1]], f"holds {2**63} in row 0, column 1"),
        ([[2, 3]], [[1, 2]], r"attention_mask holds 2 in row 0, column 1; expected \[0, 2\): 1 for a token"),
        ([[2, 3]], [[-1, 1]], "attention_mask holds -1"),
        ([[2, 3], [2, 3], [2, 3]], [[1, 1], [0, 0], [0, 0]], "row 1 of attention_mask marks no token.*undefined"),
    ],
)
def test_ids_that_cannot_be_embedded(encoder: Encoder, ids: Any, mask: Any, message: str):
    with pytest.raises(InputError, match=message):
        encoder.embed(ids, mask)


def test_integers_of_any_type_and_layout_are_taken(encoder: Encoder):
    ids, mask = np.array([[2, 8, 3], [2, 3, 0]]), np.array([[1, 1, 1], [1, 1, 0]])
    kinds = (np.int8, np.int32, np.int64, np.uint8, np.uint64)
    for kind, order in itertools.product(kinds, "CF"):
        given = ids.astype(kind, order=order), mask.astype(kind, order=order)
        np.testing.assert_array_equal(encoder.embed(*given), expected(["w2", ""]))
    np.testing.assert_array_equal(encoder.embed(ids.tolist(), mask.tolist()), expected(["w2", ""]))


def test_the_longest_row_is_taken(encoder: Encoder):
    ones = np.ones((1, MAX_SEQ_LENGTH), np.int64)
    assert encoder.embed(ones * 6, ones).shape == (1, encoder.dim)
