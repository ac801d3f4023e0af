"""A foreign encoder takes poolfold's form, and keeps its numbers."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.adopt_encoder import AdoptEncoderPass
from graphs.encoder.cleanup import cleanup
from graphs.encoder.raise_opset import RaiseOpsetPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode, pool
from tests.foreign import INT32, VOCAB, torchscript_encoder
from tests.graphs.build import FLOAT, INT64, ops, run, session, to_bytes
from tests.models import HIDDEN

FOUR = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
BOTH = ("token_embeddings", "sentence_embedding")
SIDES = ("left", "right")


def feeds(batch, seq, seed, dtype=np.int64, side="right"):
    """What the four inputs mean: padded ids, type 0, positions from 0 on."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, seq + 1, batch)
    mask = np.arange(seq) < lengths[:, None] if side == "right" else np.arange(seq) >= seq - lengths[:, None]
    values = {
        "input_ids": rng.integers(0, VOCAB, (batch, seq)),
        "attention_mask": mask,
        "token_type_ids": np.zeros((batch, seq)),
        "position_ids": np.broadcast_to(np.arange(seq), (batch, seq)),
    }
    return {name: value.astype(dtype) for name, value in values.items()}


def two_inputs(values):
    return {name: values[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def test_the_interface_is_poolfolds_own():
    model = torchscript_encoder(inputs=FOUR[::-1], outputs=BOTH, dtype=INT32, dims=("N", "L"))
    assert AdoptEncoderPass(HIDDEN)(model).modified
    described = [(v.name, v.dtype, v.shape) for v in (*model.graph.inputs, *model.graph.outputs)]
    assert described == [
        ("input_ids", INT64, ["batch", "seq"]),
        ("attention_mask", INT64, ["batch", "seq"]),
        ("last_hidden_state", FLOAT, ["batch", "seq", HIDDEN]),
    ]
    assert "ReduceMean" not in [node.op_type for node in list(model.graph)[-2:]], "the foreign pooling is gone"
    assert sorted(op for op in ops(model) if op in ("Range", "Expand")) == ["Expand", "Expand", "Range"]


@pytest.mark.parametrize("dtype", [INT64, INT32])
@pytest.mark.parametrize("inputs", [FOUR, FOUR[:3], FOUR[:2], (FOUR[3], FOUR[1], FOUR[0])])
def test_it_gives_the_vectors_of_the_foreign_graph(inputs, dtype):
    original = torchscript_encoder(inputs=inputs, outputs=BOTH, dtype=dtype)
    model = original.clone()
    AdoptEncoderPass(HIDDEN)(model)
    before, after = session(original), session(model)
    for side in SIDES:
        for batch, seq in ((1, 1), (1, 7), (3, 12)):
            values = feeds(batch, seq, batch * seq, np.int64 if dtype == INT64 else np.int32, side)
            expected = before.run(["token_embeddings"], {name: values[name] for name in inputs})[0]
            np.testing.assert_allclose(after.run(None, two_inputs(values))[0], expected, atol=1e-6)


@pytest.fixture(scope="module")
def pooled():
    """The original graph, and what becomes of it under every mode, opset raised and cleaned."""
    original = torchscript_encoder(opset=13, inputs=FOUR, outputs=BOTH)
    model = original.clone()
    RaiseOpsetPass()(model)
    AdoptEncoderPass(HIDDEN)(model)
    cleanup(model)
    FoldPoolingPass(tuple(PoolingMode))(model)
    cleanup(model)
    return session(original), session(model)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 4), seq=st.integers(1, 20), seed=st.integers(0, 99), side=st.sampled_from(["left", "right"])
)
def test_every_pooling_folds_into_it(pooled, batch, seq, seed, side):
    original, model = pooled
    values = feeds(batch, seq, seed, side=side)
    hidden = original.run(["token_embeddings"], values)[0]
    expected = pool(hidden, values["attention_mask"], tuple(PoolingMode))
    np.testing.assert_allclose(model.run(None, two_inputs(values))[0], expected, rtol=1e-4, atol=1e-5)


def test_other_token_types_and_positions_would_give_other_vectors():
    """The negative control of what is folded: the constants matter."""
    model = session(torchscript_encoder(inputs=FOUR))
    values = feeds(2, 6, 0)
    expected = model.run(None, values)[0]
    for name in ("token_type_ids", "position_ids"):
        changed = model.run(None, values | {name: 1 - np.minimum(values[name], 1)})[0]
        assert np.abs(changed - expected).max() > 1e-2


def test_annotations_are_renamed_also_inside_expressions():
    model = torchscript_encoder(inputs=FOUR[:2], dims=("s18", "s41"), layers=1)
    model.graph.inputs[1].shape = ir.Shape(["s43", "s41"])
    shapes = [("s43", "s41"), ("2*s18", "Min(64, s41)"), ("s181", None), (1, "s18")]
    values = [node.outputs[0] for node in model.graph][: len(shapes)]
    for value, shape in zip(values, shapes, strict=True):
        value.shape = ir.Shape(shape)
    AdoptEncoderPass(HIDDEN)(model)
    renamed = [["batch", "seq"], ["2*batch", "Min(64, seq)"], ["s181", None], [1, "batch"]]
    assert [value.shape for value in values] == renamed


def test_a_name_that_is_taken_is_given_up():
    model = torchscript_encoder(outputs=("token_embeddings",), layers=1)
    taken = next(node.outputs[0] for node in model.graph if node.op_type == "Softmax")
    taken.name = "last_hidden_state"
    values = feeds(2, 5, 0)
    expected = run(model, values)[0]
    AdoptEncoderPass(HIDDEN)(model)
    np.testing.assert_allclose(run(model, two_inputs(values))[0], expected, atol=1e-6)


def test_a_second_time_changes_nothing_that_counts():
    model = torchscript_encoder(inputs=FOUR, dtype=INT32)
    AdoptEncoderPass(HIDDEN)(model)
    before = ops(model)
    AdoptEncoderPass(HIDDEN)(model)
    assert ops(model) == before


def test_the_same_input_gives_the_same_bytes():
    built = []
    for _ in range(2):
        model = torchscript_encoder(inputs=FOUR, dtype=INT32)
        AdoptEncoderPass(HIDDEN)(model)
        built.append(to_bytes(model))
    assert built[0] == built[1]


def test_another_width_and_too_old_an_opset_are_refused():
    with pytest.raises(ir.passes.PreconditionError, match="last_hidden_state have 32 values; expected 64"):
        AdoptEncoderPass(64)(torchscript_encoder(layers=1))
    model = torchscript_encoder(layers=1)
    model.opset_imports[""] = 10
    with pytest.raises(ir.passes.PreconditionError, match="opset 10; expected 11 or later"):
        AdoptEncoderPass(HIDDEN)(model)
