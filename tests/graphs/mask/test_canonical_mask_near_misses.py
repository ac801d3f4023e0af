"""Masks that stay as they are."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.mask.canonical_mask import CanonicalMaskPass
from tests.graphs.build import FLOAT, GraphBuilder, to_bytes
from tests.graphs.encoders import (
    HEADS,
    WIDTH,
    Style,
    encoder,
)
from tests.graphs.mask.test_canonical_mask import ScoresBuilder, with_mask, with_scores


def _soft(b, scores):
    return b.op("Add", scores, b.op("Where", b.allowed(), b.scalar(0), b.scalar(-1.0)))


def _by_head(b, scores):
    slopes = b.constant("slopes", np.linspace(0.1, 1, HEADS).reshape(1, HEADS, 1, 1))
    return b.op("Add", scores, b.op("Mul", b.op("Where", b.tokens(), b.scalar(0), b.scalar(-1e9)), slopes))


def _linear_bias(b, scores):
    """Positions counted by tokens, a slope for each head."""
    number = b.op("CumSum", b.op("Cast", b.mask, to=FLOAT), b.scalar(1, np.int64))
    slopes = b.constant("slopes", np.linspace(0.1, 1, HEADS).reshape(1, HEADS, 1, 1))
    return b.op("Add", scores, b.op("Mul", b.op("Unsqueeze", number, b.ints(1, 2)), slopes))


def _small_fill(b, scores):
    return b.op("Where", b.allowed(), scores, b.scalar(-100.0))


def _not_over_keys(b, scores):
    return b.op("Add", scores, b.op("Where", b.allowed(), b.scalar(0), b.scalar(-1e9)))


def _branched(b, scores):
    """What a branch reads is no input of it."""
    inner = GraphBuilder()
    then = inner.op("Add", scores, scores, name="then_scores")
    then.type = ir.TensorType(FLOAT)
    other = ir.node("Identity", [scores], outputs=[ir.Value(name="else_scores", type=ir.TensorType(FLOAT))])
    branches = {
        "then_branch": ir.Graph([], [then], nodes=inner.nodes, name="then"),
        "else_branch": ir.Graph([], [other.outputs[0]], nodes=[other], name="else"),
    }
    flag = b.op("Greater", b.op("ReduceSum", b.mask, keepdims=0), b.scalar(5, np.int64))
    return b.shaped(f"batch {HEADS} seq seq", "If", flag, **branches)


@pytest.mark.parametrize("masked", [_soft, _by_head, _linear_bias, _small_fill, _branched])
def test_what_is_no_mask_stays(masked):
    model = with_scores(masked)
    before = to_bytes(model)
    canonical = CanonicalMaskPass()
    assert not canonical(model).modified
    assert canonical.masks == ()
    assert to_bytes(model) == before
    assert bool(canonical.unrecognised) == (masked in (_soft, _by_head, _linear_bias))


def test_a_softmax_over_queries_is_no_attention():
    model = with_scores(_not_over_keys, axis=2)
    assert not CanonicalMaskPass()(model).modified


def test_masked_scores_that_the_graph_shows_keep_their_numbers():
    for make in ("Add", "Where"):
        build = ScoresBuilder()
        shown = []

        def masked(scores, build=build, shown=shown, make=make):
            allowed = build.allowed()
            if make == "Add":
                off = build.op("Where", allowed, build.scalar(0), build.scalar(-1e9))
                shown.append(build.op("Add", scores, off))
            else:
                shown.append(build.op("Where", allowed, scores, build.scalar(-1e9)))
            return shown[0]

        model = build.finish(build.products(build.embeddings(), masked))
        model.graph.outputs.append(shown[0])
        canonical = CanonicalMaskPass()
        assert not canonical(model).modified
        assert len(canonical.unrecognised) == 1


def test_a_mask_of_three_axes_is_one_for_each_head():
    """[batch, seq, seq] against [batch, heads, seq, seq]: right only where there are as many texts as heads."""
    model = with_mask(lambda b: b.op("Squeeze", b.allowed(), b.ints(1)))
    canonical = CanonicalMaskPass()
    assert not canonical(model).modified
    assert len(canonical.unrecognised) == 1


def test_scores_of_three_axes_have_no_place_for_the_mask():
    build = ScoresBuilder()
    x = build.embeddings()
    query, key, value = (build.linear(x, WIDTH, WIDTH) for _ in range(3))
    scores = build.op("MatMul", query, build.op("Transpose", key, perm=[0, 2, 1]))
    tokens = build.op("Unsqueeze", build.op("Cast", build.mask, to=9), build.ints(1))
    off = build.op("Where", tokens, build.scalar(0), build.scalar(-1e9))
    model = build.finish(build.op("MatMul", build.op("Softmax", build.op("Add", scores, off), axis=-1), value))
    canonical = CanonicalMaskPass()
    assert not canonical(model).modified
    assert len(canonical.unrecognised) == 1


def test_what_depends_on_ids_is_no_mask():
    def from_ids(b):
        tokens = b.op("Not", b.op("Equal", b.ids, b.scalar(0, np.int64)))
        return b.op("And", b.op("And", b.op("Unsqueeze", tokens, b.ints(1, 2)), b.band(None, None)), b.tokens())

    model = with_mask(from_ids)
    before = to_bytes(model)
    canonical = CanonicalMaskPass()
    assert not canonical(model).modified
    assert to_bytes(model) == before


def test_a_name_that_looks_like_ours_is_no_reason_to_leave_a_mask():
    model = encoder(Style())
    mask = next(node.inputs[3] for node in model.graph if node.op_type == "Attention")
    mask.name = "mask.allowed"
    canonical = CanonicalMaskPass()
    assert canonical(model).modified
    assert [m.value for m in canonical.masks] == ["mask.allowed"]
