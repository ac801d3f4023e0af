import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.ir.stage import stage_of
from graphs.pooling.fold_head import FoldHeadPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Activation, Dense, Normalize, Truncate
from graphs.pooling.strategy import PoolingMode
from tests.graphs.build import ops, run, to_bytes, token_vectors_graph

TORCH = {
    Activation.IDENTITY: torch.nn.Identity(),
    Activation.TANH: torch.nn.Tanh(),
    Activation.SIGMOID: torch.nn.Sigmoid(),
    Activation.RELU: torch.nn.ReLU(),
    Activation.GELU: torch.nn.GELU(),
    Activation.SILU: torch.nn.SiLU(),
}
RNG = np.random.default_rng(0)


def pooled(width):
    model = token_vectors_graph(width)
    FoldPoolingPass((PoolingMode.MEAN,))(model)
    return model


def folded(width, *head):
    model = pooled(width)
    assert FoldHeadPass(head)(model).modified
    return model


def apply(model, vectors):
    """Run on rows of one token each, whose mean is the token itself."""
    feeds = {"hidden": vectors[:, None], "attention_mask": np.ones((len(vectors), 1), np.int64)}
    return run(model, feeds)[0]


def weights(out, width):
    return RNG.normal(size=(out, width)).astype(np.float32)


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("residual", ["none", "identity", "projected"])
@pytest.mark.parametrize("bias", [True, False])
def test_dense_equals_torch(activation, residual, bias):
    out = 6 if residual == "identity" else 4
    weight, offset = weights(out, 6), RNG.normal(size=out).astype(np.float32) if bias else None
    projection = {"none": None, "identity": "identity", "projected": weights(out, 6)}[residual]
    vectors = weights(5, 6)
    x = torch.from_numpy(vectors)
    linear = torch.nn.functional.linear(
        x, torch.from_numpy(weight), None if offset is None else torch.from_numpy(offset)
    )
    expected = TORCH[activation](linear)
    if residual == "identity":
        expected = expected + x
    elif residual == "projected":
        expected = expected + x @ torch.from_numpy(projection).T
    output = apply(folded(6, Dense(weight, offset, activation, projection)), vectors)
    np.testing.assert_allclose(output, expected.numpy(), rtol=1e-5, atol=2e-6)


@settings(max_examples=50, deadline=None)
@given(scale=st.sampled_from([0.0, 1e-20, 1e-13, 1e-12, 1e-6, 1.0, 1e6]), seed=st.integers(0, 99))
def test_normalize_equals_torch_at_every_scale(scale, seed):
    vectors = (np.random.default_rng(seed).normal(size=(3, 8)) * scale).astype(np.float32)
    expected = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1).numpy()
    np.testing.assert_allclose(apply(NORMALIZED, vectors), expected, rtol=1e-6, atol=1e-7)


NORMALIZED = to_bytes(folded(8, Normalize()))


def test_modules_apply_in_their_order():
    vectors = weights(3, 4)
    truncated_last = apply(folded(4, Normalize(), Truncate(2)), vectors)
    normalized_last = apply(folded(4, Truncate(2), Normalize()), vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(truncated_last, unit[:, :2], rtol=1e-6)
    assert np.allclose(np.linalg.norm(normalized_last, axis=1), 1)
    assert not np.allclose(truncated_last, normalized_last)


@pytest.mark.parametrize(
    ("head", "expected", "dim"),
    [
        ((Normalize(),), ["ReduceL2", "Max", "Div"], 6),
        ((Dense(weights(4, 6), None, Activation.TANH),), ["Gemm", "Tanh"], 4),
        ((Dense(weights(4, 6), None, Activation.IDENTITY), Truncate(2)), ["Gemm", "Slice"], 2),
        ((Truncate(6), Truncate(3)), ["Slice"], 3),
    ],
)
def test_adds_exactly_these_nodes_marked_typed_and_named(head, expected, dim):
    model = folded(6, *head)
    added = list(model.graph)[len(ops(pooled(6))) :]
    assert [node.op_type for node in added] == expected
    assert {stage_of(node) for node in added} == {"head"}
    assert all(value.dtype == ir.DataType.FLOAT for node in added for value in node.outputs)
    (output,) = model.graph.outputs
    assert (output.name, output.dtype) == ("sentence_embedding", ir.DataType.FLOAT)
    assert output.shape == ir.Shape(["batch", dim])


@pytest.mark.parametrize("head", [(), (Truncate(6),)])
def test_a_head_that_changes_nothing_adds_nothing(head):
    model = pooled(6)
    before = to_bytes(model)
    assert not FoldHeadPass(head)(model).modified
    assert to_bytes(model) == before


@pytest.mark.parametrize(
    ("head", "numbers"),
    [
        ((Dense(weights(4, 5), None, Activation.TANH),), (5, 6)),
        ((Dense(weights(4, 6), None, Activation.TANH, "identity"),), (6, 4)),
        ((Dense(weights(4, 6), None, Activation.TANH, weights(3, 6)),), (3, 4)),
        ((Dense(weights(4, 6), None, Activation.TANH, weights(4, 7)),), (7, 6)),
        ((Dense(weights(4, 6), np.zeros(3, np.float32), Activation.TANH),), (3, 4)),
        ((Truncate(7),), (7, 6)),
        ((Truncate(0),), (0, 6)),
        ((Normalize(), Truncate(4), Dense(weights(4, 6), None, Activation.TANH)), (6, 4)),
    ],
)
def test_a_module_that_does_not_fit_is_refused_with_both_numbers(head, numbers):
    model = pooled(6)
    before = to_bytes(model)
    with pytest.raises(ValueError, match="dimensions") as error:
        FoldHeadPass(head)(model)
    assert all(str(number) in str(error.value) for number in numbers)
    assert to_bytes(model) == before


def test_a_second_head_and_a_graph_without_pooling_are_refused():
    with pytest.raises(ir.passes.PreconditionError, match="head already"):
        FoldHeadPass((Normalize(),))(folded(6, Normalize()))
    with pytest.raises(ir.passes.PreconditionError, match="last_hidden_state"):
        FoldHeadPass((Normalize(),))(token_vectors_graph(6))


def test_is_deterministic():
    dense = Dense(weights(4, 6), None, Activation.SILU, weights(4, 6))
    assert to_bytes(folded(6, dense, Normalize())) == to_bytes(folded(6, dense, Normalize()))
