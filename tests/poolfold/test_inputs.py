import collections
import itertools
import types
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pytest

from poolfold import Encoder, InputError
from tests.artifacts import MAX_SEQ_LENGTH, WORDS, expected

VOCAB = len(WORDS)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (7, "texts is of type int; expected a str or a list of them"),
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


@pytest.mark.parametrize("batch_size", [0, -3, 2.5, True, None])
def test_batch_sizes_that_are_none(encoder: Encoder, batch_size: Any):
    for texts in (["w1"], []):
        with pytest.raises(InputError, match="batch_size is"):
            encoder.encode(texts, batch_size)


TEXTS = ["w1 w2", "w3"]
TABLE = pandas.DataFrame({"text": TEXTS, "id": [1, 2]})
ROWS = datasets.Dataset.from_dict({"text": TEXTS})


@pytest.mark.parametrize(
    "collection",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        (text for text in TEXTS),
        map(str, TEXTS),
        collections.deque(TEXTS),
        collections.UserList(TEXTS),
        dict.fromkeys(TEXTS).keys(),
        {1: "w1 w2", 2: "w3"}.values(),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        TABLE["text"],
        TABLE["text"].astype("string"),
        pandas.Index(TEXTS),
        ROWS["text"],
        pyarrow.array(TEXTS).to_pylist(),
    ],
    ids=lambda collection: type(collection).__name__,
)
def test_texts_of_any_collection(encoder: Encoder, collection: Any):
    np.testing.assert_array_equal(encoder.encode(collection), expected(TEXTS))


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        (dict.fromkeys(TEXTS), r"texts is a dict, which gives its keys.*Pass list\(texts.values\(\)\)"),
        (collections.Counter(TEXTS), "texts is a Counter, which gives its keys"),
        (types.MappingProxyType({"d1": "w1"}), "texts is a mappingproxy, which gives its keys"),
        (set(TEXTS), r"texts is a set, which has no order.*sorted\(texts\)"),
        (frozenset(TEXTS), "texts is a frozenset, which has no order"),
        (set(), "texts is a set, which has no order"),
        ({}, "texts is a dict, which gives its keys"),
        (TABLE, "texts is a DataFrame, a table.*Pass one column as a list"),
        (TABLE[["text"]], "texts is a DataFrame, a table"),
        (pyarrow.table({"text": TEXTS}), "texts is a Table, a table"),
        (ROWS, "texts is a Dataset, a table"),
        (b"w1 w2", r"texts is a bytes, which gives numbers.*texts.decode\(\)"),
        (bytearray(b"w1"), "texts is a bytearray, which gives numbers"),
        (
            {"d1": "w1"}.items(),
            r"texts is a dict_items, which gives each value with its key.*Pass list\(texts.values\(\)\)",
        ),
        (TABLE.to_dict("records"), "text 0 is of type dict; expected str. Pass the value that holds the text"),
        (np.array([TEXTS]), "text 0 is of type ndarray; expected str. Pass one flat list"),
        (np.array("w1"), "texts is a ndarray that is no list"),
        (pandas.Series(["w1", None, float("nan")], dtype=object), "text 1 is of type NoneType"),
        (pandas.Series(["w1", float("nan")], dtype=object), r"text 1 is of type float \(nan\)"),
        (pandas.Series(["w1", None], dtype="string"), "text 1 is of type"),
        (TABLE["id"], r"text 0 is of type int \(1\)"),
        (np.array([1, 2]), "text 0 is of type int64"),
        (pyarrow.array(TEXTS), "text 0 is of type StringScalar"),
        (ROWS.with_format("numpy").iter(1), "text 0 is of type dict"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_list_of_texts_is_refused_with_what_to_pass(encoder: Encoder, collection: Any, message: str):
    with pytest.raises(InputError, match=message):
        encoder.encode(collection)


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
