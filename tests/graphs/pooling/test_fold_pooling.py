import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.ir.stage import stage_of
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode, parse_strategy, pool, strategy_name
from tests.graphs.build import GraphBuilder, ops, run, session, to_bytes, token_vectors_graph

HIDDEN_SIZE = 5
ALL = tuple(PoolingMode)
STRATEGIES = [*((mode,) for mode in ALL), ALL, parse_strategy("lasttoken+cls")]


def folded(strategy, hidden_size=HIDDEN_SIZE):
    model = token_vectors_graph(hidden_size)
    assert FoldPoolingPass(strategy)(model).modified
    return model


@pytest.fixture(scope="module")
def sessions():
    return {strategy: session(folded(strategy)) for strategy in STRATEGIES}


@pytest.fixture(scope="module")
def apart():
    model = token_vectors_graph(HIDDEN_SIZE)
    FoldPoolingPass(ALL, prompt_apart=True)(model)
    return session(model)


@st.composite
def masks(draw):
    """Right padding, left padding, holes, one token, none."""
    batch, seq = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    rows = []
    for _ in range(batch):
        length = draw(st.integers(0, seq))
        kind = draw(st.sampled_from(["right", "left", "holes"]))
        row = np.arange(seq) < length
        if kind == "left":
            row = row[::-1]
        if kind == "holes":
            row = np.array(draw(st.lists(st.booleans(), min_size=seq, max_size=seq)))
        rows.append(row)
    return np.array(rows).astype(np.int64)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=strategy_name)
@settings(max_examples=40, deadline=None)
@given(mask=masks(), seed=st.integers(0, 2**16), poison=st.sampled_from([np.nan, np.inf, -np.inf, 1e30]))
def test_equals_numpy_whatever_stands_at_masked_positions(sessions, strategy, mask, seed, poison):
    hidden = np.random.default_rng(seed).normal(size=(*mask.shape, HIDDEN_SIZE)).astype(np.float32)
    hidden[mask == 0] = poison
    (output,) = sessions[strategy].run(None, {"hidden": hidden, "attention_mask": mask})
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, pool(hidden, mask, strategy), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(mask=masks(), seed=st.integers(0, 2**16))
def test_tokens_marked_by_a_2_keep_their_places_and_are_not_pooled(apart, mask, seed):
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(*mask.shape, HIDDEN_SIZE)).astype(np.float32)
    mask = mask * random.integers(1, 3, mask.shape)
    expected = pool(hidden, mask, ALL)
    hidden[mask != 1] = np.nan
    (output,) = apart.run(None, {"hidden": hidden, "attention_mask": mask})
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


def test_the_places_of_what_is_left_out_by_hand():
    hidden = np.array([[[9], [1], [2], [9]]], np.float32)
    mean, weighted = pool(hidden, np.array([[2, 1, 1, 0]]), (PoolingMode.MEAN, PoolingMode.WEIGHTEDMEAN))[0]
    np.testing.assert_allclose([mean, weighted], [1.5, (2 * 1 + 3 * 2) / 5])


@pytest.mark.parametrize("mode", ALL)
def test_a_nan_at_a_token_is_not_hidden(sessions, mode):
    hidden = np.ones((2, 3, HIDDEN_SIZE), np.float32)
    hidden[0, 0, 2] = hidden[0, 2, 2] = np.nan
    (output,) = sessions[(mode,)].run(None, {"hidden": hidden, "attention_mask": np.ones((2, 3), np.int64)})
    assert np.isnan(output).tolist() == [[False, False, True, False, False], [False] * HIDDEN_SIZE]


def test_multiplying_by_the_mask_would_let_a_padded_nan_through():
    build = GraphBuilder()
    hidden = build.input("hidden", ir.DataType.FLOAT, "batch", "seq", 1)
    mask = build.op("Cast", build.input("attention_mask", ir.DataType.INT64, "batch", "seq"), to=1)
    masked = build.op("Mul", hidden, build.op("Unsqueeze", mask, build.constant("last", [-1], np.int64)))
    total = build.op("ReduceSum", masked, build.constant("one", [1], np.int64), keepdims=0)
    feeds = {"hidden": np.array([[[1], [np.nan]]], np.float32), "attention_mask": np.array([[1, 0]])}
    assert np.isnan(run(build.model(total), feeds)[0]).all()


FIRST_POSITION = ["Shape", "Squeeze", "Sub", "Cast", "Cast", "Greater", "Range", "Cast", "Where", "ReduceMin"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("mean", ["Cast", "Greater", "Unsqueeze", "Where", "ReduceSum", "Cast", "ReduceSum", "Max", "Div"]),
        (
            "cls",
            [*FIRST_POSITION, "Cast", "GatherND", "Cast", "ReduceSum", "Greater", "Where"],
        ),
    ],
)
def test_adds_exactly_these_nodes(strategy, expected):
    assert ops(folded(parse_strategy(strategy)))[1:] == expected


def test_modes_of_a_concatenation_share_their_work():
    model = folded(ALL)
    assert len(ops(model)) <= sum(len(ops(folded((mode,)))) for mode in ALL) / 2
    keys = [(n.op_type, tuple(n.inputs), str(dict(n.attributes))) for n in model.graph]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=strategy_name)
def test_every_added_node_is_marked_and_typed_and_the_output_named(strategy):
    model = folded(strategy)
    assert {stage_of(node) for node in list(model.graph)[1:]} == {"pooling"}
    assert all(value.dtype is not None for node in list(model.graph)[1:] for value in node.outputs)
    (output,) = model.graph.outputs
    assert (output.name, output.dtype) == ("sentence_embedding", ir.DataType.FLOAT)
    assert output.shape == ir.Shape(["batch", len(strategy) * HIDDEN_SIZE])


def test_uses_only_operators_that_every_engine_takes():
    assert not set(ops(folded(ALL))) & {"NonZero", "ArgMax", "CumSum", "Compress", "If", "Loop"}


def test_on_an_exported_encoder_it_equals_numpy_on_pytorch(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    FoldPoolingPass(ALL)(model)
    cleanup(model)
    expected = pool(tiny_bert.hidden, tiny_bert.attention_mask, ALL)
    np.testing.assert_allclose(run(model, tiny_bert.feeds)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_second_application_is_refused():
    model = folded(ALL)
    with pytest.raises(ir.passes.PreconditionError, match="sentence_embedding"):
        FoldPoolingPass(ALL)(model)


def _no_mask(model):
    model.graph.inputs.pop()


def _other_output(model):
    model.graph.outputs[0].name = "logits"


def _unknown_width(model):
    model.graph.outputs[0].shape = ir.Shape(["batch", "seq", "hidden"])


def _rank_two(model):
    model.graph.outputs[0].shape = ir.Shape(["batch", 4])


def _old_opset(model):
    model.opset_imports[""] = 17


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_mask, "attention_mask"),
        (_other_output, "logits"),
        (_unknown_width, "hidden size"),
        (_rank_two, "seq, hidden"),
        (_old_opset, "17"),
    ],
)
def test_what_it_cannot_pool_is_refused_and_left_alone(change, said):
    model = token_vectors_graph(4)
    change(model)
    before = to_bytes(model)
    with pytest.raises(ir.passes.PreconditionError, match=said):
        FoldPoolingPass(ALL)(model)
    assert to_bytes(model) == before


def test_no_mode_is_no_strategy():
    with pytest.raises(ValueError, match="at least one"):
        FoldPoolingPass(())


def test_is_deterministic():
    assert to_bytes(folded(ALL)) == to_bytes(folded(ALL))
