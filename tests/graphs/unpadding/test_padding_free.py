from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.ir.dims import dims_of
from graphs.ir.stage import stage_of
from graphs.last_layer.push_down_row import PushDownRowPass
from graphs.unpadding import padding_free
from graphs.unpadding.padding_free import PaddingFreePass
from tests.graphs.build import INT64, ops, to_bytes
from tests.graphs.encoders import (
    EDGES,
    VOCABULARY,
    WIDTH,
    Style,
    assert_same_vectors,
    batch_of,
    batches,
    canonical,
    encoder,
    pooled,
    run_on,
    styles,
)

STRATEGIES = ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "cls+mean", "lasttoken+cls")
FORMS = pytest.mark.parametrize("as_input", [False, True], ids=["nonzero", "input"])


def free_of_padding(model, *, as_input=False):
    """A clone that computes real tokens only, clean, and what the pass says."""
    model, free = model.clone(), PaddingFreePass(positions_as_input=as_input)
    assert free(model).modified == bool(free.result.nodes) == (not free.result.why)
    cleanup(model)
    return model, free.result


def pushed(model):
    model = model.clone()
    PushDownRowPass()(model)
    cleanup(model)
    return model


def assert_same(before, after, *given_batches):
    for a, b in zip(run_on(before, *given_batches), run_on(after, *given_batches), strict=True):
        assert_same_vectors(b, a)


def layouts(model):
    """How the products with weights are laid out, by the first two dimensions."""
    weights = [n for n in model.graph if n.op_type == "MatMul" and n.inputs[1].const_value is not None]
    return Counter(dims_of(node.outputs[0])[:2] for node in weights)


# What is packed.


STYLES = [
    (Style(), 12),
    (Style(block="pre", feed_forward="gated"), 14),
    (Style(block="parallel", feed_forward="split"), 12),
    (Style(attention="products", mask="where"), 12),
    (Style(position="table"), 12),
    (Style(position="rotary"), 12),
    (Style(position="rotary2d", block="pre"), 12),
    (Style(attention="products", position="bias"), 12),
    (Style(attention="products", position="bias3d"), 12),
    (Style(grouped=True, fused=True), 8),
    (Style(behind=2, ahead=3), 12),
    (Style(ahead=0, block="pre"), 12),
]


@pytest.mark.parametrize(("style", "products"), STYLES, ids=lambda v: str(v) if isinstance(v, Style) else "")
@FORMS
def test_every_product_with_weights_runs_on_tokens(style, products, as_input):
    before = pooled(canonical(encoder(style)), "mean")
    after, result = free_of_padding(before, as_input=as_input)
    assert layouts(after) == {(1, "tokens"): products}
    assert (result.products, result.why) == (products, "")
    assert ("NonZero" in ops(after)) is not as_input
    names = [value.name for value in after.graph.inputs]
    assert names == ["input_ids", "attention_mask"] + as_input * ["token_positions"]
    assert [dims_of(value) for value in after.graph.outputs] == [("batch", WIDTH)]
    assert_same(before, after, *EDGES)


def test_tokens_are_packed_and_unpacked_around_attention_alone():
    _, result = free_of_padding(pooled(canonical(encoder(Style())), "mean"))
    # The ids and each attention's result; each attention's Q, K and V, and the pooling's token vectors.
    assert (result.packs, result.unpacks) == (3, 7)
    assert result.describe() == "44 nodes and 12 matrix products on real tokens, packed 3 and unpacked 7 times"


@FORMS
def test_behind_the_push_down_only_the_keys_and_values_of_the_last_layer_are_packed(as_input):
    before = pooled(canonical(encoder(Style())), "cls")
    after, _ = free_of_padding(pushed(before), as_input=as_input)
    assert layouts(after) == {(1, "tokens"): 8, ("batch", 1): 4}
    assert_same(before, after, *EDGES)


def test_fewer_tokens_are_fewer_rows():
    """What it is for: the packed tensors of a batch have as many rows as it has tokens."""
    model, _ = free_of_padding(pooled(canonical(encoder(Style())), "mean"))
    product = next(n for n in model.graph if n.op_type == "MatMul" and dims_of(n.outputs[0])[1] == "tokens")
    model.graph.outputs[:] = [product.outputs[0]]
    for batch in EDGES:
        mask = batch["attention_mask"].reshape(-1).copy()
        mask[0] = 1
        assert run_on(model, batch)[0].shape == (1, mask.sum(), product.outputs[0].shape[2])


# Numbers.


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(style=styles, strategy=st.sampled_from(STRATEGIES), batch=batches(), as_input=st.booleans(), push=st.booleans())
def test_the_same_vectors_for_every_style_and_batch(style, strategy, batch, as_input, push):
    before = pooled(canonical(encoder(style)), strategy)
    after, result = free_of_padding(pushed(before) if push else before, as_input=as_input)
    assert result.products
    assert_same(before, after, batch)


@settings(max_examples=30, deadline=None)
@given(batch=batches(), other=st.integers(0, 2**16))
def test_ids_at_padding_change_nothing(packed_sessions, batch, other):
    """Not even the first place, which is computed like a token where it holds none."""
    mask = batch["attention_mask"]
    noise = np.random.default_rng(other).integers(0, VOCABULARY, mask.shape)
    changed = batch | {"input_ids": np.where(mask > 0, batch["input_ids"], noise)}
    for model in packed_sessions:
        a, b = run_on(model, batch, changed)
        assert_same_vectors(b, a)


@pytest.fixture(scope="module")
def packed_sessions():
    before = pooled(canonical(encoder(Style(block="pre"))), "mean")
    return [free_of_padding(before)[0], free_of_padding(pushed(pooled(canonical(encoder(Style())), "cls")))[0]]


def test_a_text_is_the_same_alone_and_beside_any_other():
    model, _ = free_of_padding(pooled(canonical(encoder(Style())), "mean"))
    batch = EDGES[-1]
    (together,) = run_on(model, batch)
    for text, vector in enumerate(together):
        mask = batch["attention_mask"][text]
        alone = batch_of([np.ones(mask.sum())])
        alone["input_ids"] = batch["input_ids"][text][mask > 0][None]
        np.testing.assert_allclose(run_on(model, alone)[0][0], vector, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_of_no_token_give_zeros(strategy):
    for push in (False, True):
        before = pooled(canonical(encoder(Style())), strategy)
        model, _ = free_of_padding(pushed(before) if push else before)
        (vectors,) = run_on(model, batch_of([[0, 0, 0], [1, 0, 0], [0, 0, 0]]))
        assert not vectors[[0, 2]].any() and vectors[1].any()


# Negative controls.


def test_slots_that_are_off_by_one_would_show():
    before = pooled(canonical(encoder(Style())), "mean")
    after, _ = free_of_padding(before)
    slots = next(n for n in after.graph if stage_of(n) == "packing" and n.op_type == "Sub").outputs[0]
    readers = list(slots.uses())
    one = ir.Value(name="by", type=ir.TensorType(INT64), const_value=ir.tensor(np.array(1), name="by"))
    after.graph.register_initializer(one)
    wrong = ir.node("Sub", [slots, one], outputs=[ir.Value(name="wrong", type=slots.type)])
    after.graph.append(wrong)
    for node, place in readers:
        node.replace_input_with(place, wrong.outputs[0])
    after.graph.sort()
    with pytest.raises(AssertionError):
        assert_same(before, after, batch_of([[1, 1, 1, 0], [1, 1, 0, 0]]))


def test_positions_of_other_tokens_would_show():
    before = pooled(canonical(encoder(Style())), "mean")
    after, _ = free_of_padding(before, as_input=True)
    batch = batch_of([[1, 1, 1, 0], [1, 1, 0, 0]])
    assert_same(before, after, batch)
    with pytest.raises(AssertionError):
        assert_same(before, after, batch | {"token_positions": np.array([[0, 1, 3, 4, 5]])})


def test_a_mask_that_is_dropped_would_show():
    """Padding shows other tokens in the packed form: without the mask they count."""
    before = pooled(canonical(encoder(Style())), "mean")
    after, _ = free_of_padding(before)
    for node in after.graph:
        if node.op_type == "Where" and stage_of(node) == "mask":
            node.replace_input_with(2, node.inputs[1])
    with pytest.raises(AssertionError):
        assert_same(before, after, *EDGES)


# The rest of the contract.


@pytest.mark.parametrize("style", [style for style, _ in STYLES[::4]], ids=str)
@FORMS
def test_a_second_application_changes_nothing_and_bytes_repeat(style, as_input):
    made = []
    for _ in range(2):
        model = pooled(canonical(encoder(style)), "mean")
        PaddingFreePass(positions_as_input=as_input)(model)
        made.append(model)
    assert to_bytes(made[0]) == to_bytes(made[1])
    for clean in (False, True):
        if clean:
            cleanup(made[0])
        before = to_bytes(made[0])
        assert not PaddingFreePass(positions_as_input=as_input)(made[0]).modified
        assert to_bytes(made[0]) == before


def test_every_node_it_adds_is_marked_and_every_value_typed():
    before = pooled(canonical(encoder(Style(position="table"))), "cls")
    names = {node.name for node in before.graph}
    after = before.clone()
    PaddingFreePass()(after)
    assert {stage_of(node) for node in after.graph if node.name not in names} == {"packing"}
    assert all(v.dtype is not None for node in after.graph for v in node.outputs)
    ir.passes.common.ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True)(after)
    assert_same(before, after, *EDGES)


@pytest.mark.slow
def test_work_grows_linearly_with_layers(monkeypatch):
    asked = Counter()
    rule = padding_free.token_inputs
    sizes = {}
    for layers in (3, 6, 12):

        def counting(node, layers=layers):
            asked[layers] += 1
            return rule(node)

        before = pooled(canonical(encoder(Style(layers=layers))), "mean")
        with monkeypatch.context() as patch:
            patch.setattr(padding_free, "token_inputs", counting)
            after, result = free_of_padding(before)
        sizes[layers] = len(after.graph), result.nodes, result.packs, result.unpacks, asked[layers]
    for small, middle, large in zip(*(sizes[layers] for layers in (3, 6, 12)), strict=True):
        assert large - middle == 2 * (middle - small)
