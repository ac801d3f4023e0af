import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.embedding_sums import EmbeddingSumsPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run, to_bytes

RNG = np.random.default_rng(0)
WORDS, POSITIONS, ROW = (RNG.normal(size=shape).astype(np.float32) for shape in ((20, 8), (6, 8), (8,)))


def sum_graph(*, row_last=False, row=ROW, rows=6, extra_reader=None, table_input=False, lookup="positions"):
    """words[ids] + row + positions[places], in either order of the last two."""
    build = GraphBuilder()
    ids, places = build.input("ids", INT64, "batch", "seq"), build.input("places", INT64, 1, "seq")
    words = build.op("Gather", build.constant("words", WORDS), ids, name="word")
    table = np.concatenate([POSITIONS, np.zeros((rows - 6, 8), np.float32)])
    source = build.input("positions", FLOAT, rows, 8) if table_input else build.constant("positions", table)
    position = build.op("Gather", source, places, name="position")
    constant = build.constant("row", row)
    if row_last:
        partial = build.op("Add", words, position, name="partial")
        total = build.op("Add", partial, constant, name="total")
    else:
        partial = build.op("Add", words, constant, name="partial")
        total = build.op("Add", partial, position, name="total")
    outputs = [build.op("Neg", total, name="out")]
    if extra_reader is not None:
        outputs.append(build.op("Neg", {"partial": partial, "position": position}[extra_reader], name="also"))
    model = build.model(*outputs)
    cleanup(model)
    return model


def feeds(batch=2, seq=5, seed=0):
    rng = np.random.default_rng(seed)
    places = np.arange(seq)[None] % 6
    return {"ids": rng.integers(0, 20, (batch, seq)), "places": places, "positions": POSITIONS}


@pytest.mark.parametrize("row_last", [False, True])
@settings(max_examples=15, deadline=None)
@given(batch=st.integers(1, 3), seq=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_row_moves_into_the_smaller_table(row_last, batch, seq, seed):
    model = sum_graph(row_last=row_last)
    given_feeds = feeds(batch, seq, seed)
    (before,) = run(model, given_feeds)
    assert EmbeddingSumsPass()(model).modified
    cleanup(model)
    assert sorted(ops(model)) == ["Add", "Gather", "Gather", "Neg"]
    np.testing.assert_allclose(run(model, given_feeds)[0], before, atol=1e-6)
    np.testing.assert_allclose(before, -(WORDS[given_feeds["ids"]] + POSITIONS[given_feeds["places"]] + ROW), atol=1e-6)
    once = to_bytes(model)
    assert not EmbeddingSumsPass()(model).modified
    assert to_bytes(model) == once


@pytest.mark.parametrize(
    "near_miss",
    [
        {"extra_reader": "partial"},
        {"extra_reader": "position"},
        {"row": ROW[None]},
        {"row": np.float32(3.0)},
        {"row": ROW[:1]},
        {"table_input": True},
    ],
    ids=["partial sum read", "look-up read", "two axes", "a number", "one value", "no constant table"],
)
def test_near_misses_stay(near_miss):
    model = sum_graph(**near_miss)
    before = to_bytes(model)
    assert not EmbeddingSumsPass()(model).modified
    assert to_bytes(model) == before


def test_a_vocabulary_is_not_copied():
    model = sum_graph(rows=16385)
    sizes = {name: value.const_value.size for name, value in model.graph.initializers.items()}
    EmbeddingSumsPass()(model)
    assert {n: v.const_value.size for n, v in model.graph.initializers.items() if n in sizes} == sizes
    assert sum(v.const_value.size for v in model.graph.initializers.values()) <= sum(sizes.values()) + WORDS.size


def test_another_row_gives_another_sum():
    """Negative control of the comparison above."""
    model, other = sum_graph(), sum_graph(row=ROW + 1e-3)
    EmbeddingSumsPass()(other)
    assert not np.allclose(run(model, feeds())[0], run(other, feeds())[0], atol=1e-6)
