from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import padding_free
from graphs.cleanup import cleanup
from graphs.dims import dims_of
from graphs.padding_free import PaddingFreePass
from graphs.push_down_row import PushDownRowPass
from graphs.stage import stage_of
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, to_bytes
from tests.graphs.encoders import (
    EDGES,
    HEADS,
    VOCABULARY,
    WIDTH,
    EncoderBuilder,
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


@settings(max_examples=25, deadline=None)
@given(style=styles, strategy=st.sampled_from(STRATEGIES), batch=batches(), as_input=st.booleans(), push=st.booleans())
def test_the_same_vectors_for_every_style_and_batch(style, strategy, batch, as_input, push):
    before = pooled(canonical(encoder(style)), strategy)
    after, result = free_of_padding(pushed(before) if push else before, as_input=as_input)
    # A bias that the mask was added to is no canonical mask to the check of token_mixing.
    assert bool(result.products) == (not (style.position.startswith("bias") and style.attention == "operator"))
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


# What is not token-wise, or shows padding.


def _convolution(b, x):
    turned = b.op("Conv", b.op("Transpose", x, perm=[0, 2, 1]), b.weight(WIDTH, WIDTH, 3), pads=[1, 1])
    return b.op("Transpose", b.shaped(f"batch {WIDTH} seq", "Identity", turned), perm=[0, 2, 1])


def _unmasked_attention(b, x):
    query = b.heads(x, HEADS)
    return b.merged(b.shaped(f"batch {HEADS} seq 4", "Attention", query, query, query))


def _attention_under_a_soft_mask(b, x):
    soft = b.op("Where", b.allowed(), b.scalar(0), b.scalar(-1.0))
    query = b.heads(x, HEADS)
    return b.merged(b.shaped(f"batch {HEADS} seq 4", "Attention", query, query, query, soft))


def _mean_of_the_sequence(b, x):
    return b.op("Add", x, b.op("ReduceMean", x, b.ints(1), keepdims=1))


def _softmax_over_tokens(b, x):
    return b.op("Softmax", x, axis=1)


def _running_sum(b, x):
    return b.op("CumSum", x, b.scalar(1, np.int64), reverse=1)


def _neighbour(b, x):
    rest, first = (b.op("Slice", x, b.ints(i), b.ints(j), b.ints(1)) for i, j in ((1, 2**62), (0, 1)))
    return b.shaped(f"batch seq {WIDTH}", "Concat", rest, first, axis=1)


def _gram_matrix(b, x):
    flat = b.op("Reshape", x, b.ints(-1, WIDTH))
    gram = b.op("MatMul", b.op("Transpose", flat, perm=[1, 0]), flat)
    return b.op("MatMul", x, b.op("Mul", gram, b.scalar(0.01)))


def _norm_over_tokens(b, x):
    return b.op("LpNormalization", x, axis=1)


def _most_of_the_sequence(b, x):
    return b.op("Sub", x, b.op("ReduceMax", x, b.ints(1), keepdims=1))


def _texts_mixed(b, x):
    return b.op("Add", x, b.op("ReduceMean", x, b.ints(0), keepdims=1))


MIXERS = [make for name, make in list(globals().items()) if name.startswith("_") and name[1].islower()]


@pytest.mark.parametrize("make", MIXERS, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.parametrize("strategy", ["mean", "cls"])
def test_where_padding_reaches_a_token_nothing_is_packed(make, strategy):
    build = EncoderBuilder()
    x = build.layer(build.embeddings(), Style(), build.allowed())
    x = build.layer(build.norm(make(build, x)), Style(), build.allowed())
    model = pooled(canonical(build.finish(x)), strategy)
    batch = EDGES[5]
    noise = batch | {"input_ids": np.where(batch["attention_mask"] > 0, batch["input_ids"], 3)}
    assert not np.allclose(*run_on(model, batch, noise), atol=1e-4), "the premise: padding counts"
    for graph in (model, pushed(model)):
        before = to_bytes(graph)
        free = PaddingFreePass()
        assert not free(graph).modified
        assert to_bytes(graph) == before
        assert free.result.why and free.result.describe() == f"not packed: {free.result.why}"


def test_a_norm_scaled_by_position_is_left_where_it_is():
    build = EncoderBuilder()
    x = build.layer(build.embeddings(), Style(), build.allowed())
    scale = build.op("Unsqueeze", build.op("Cast", build.positions(), to=FLOAT), build.ints(0, 2))
    x = build.op("LayerNormalization", build.linear(x, WIDTH, WIDTH), build.op("Add", scale, build.weight(WIDTH)))
    before = pooled(canonical(build.finish(build.linear(x, WIDTH, WIDTH))), "mean")
    after, result = free_of_padding(before)
    if result.products:
        norms = [n for n in after.graph if n.op_type == "LayerNormalization"]
        assert ("batch", "seq") in {dims_of(n.outputs[0])[:2] for n in norms}
    assert_same(before, after, *EDGES)


def test_a_norm_whose_other_outputs_are_read_or_left_out_is_packed():
    for names in (["y", "mean"], ["y", "", ""]):
        build = EncoderBuilder()
        x = build.linear(build.embeddings(), WIDTH, WIDTH)
        node = ir.node("LayerNormalization", [x, build.weight(WIDTH)], outputs=[ir.Value(name=name) for name in names])
        build.nodes.append(node)
        y = build.op("Add", *node.outputs) if len(names) == 2 else node.outputs[0]
        before = pooled(build.finish(build.linear(y, WIDTH, WIDTH)), "mean")
        norm = next(n for n in before.graph if n.op_type == "LayerNormalization")
        if len(names) == 3:
            norm.resize_outputs(3)
            for value in norm.outputs[1:]:
                value.name = ""
        after, result = free_of_padding(before)
        assert result.products == 2
        assert_same(before, after, *EDGES)


def test_what_a_branch_reads_is_unpacked_for_it():
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)

    def branch(name, op):
        out = ir.Value(name=f"{name}_out", type=ir.TensorType(FLOAT))
        return ir.Graph([], [out], nodes=[ir.node(op, [x], outputs=[out], name=f"n_{name}")], name=name)

    many = build.op("Greater", build.op("ReduceSum", build.mask, keepdims=0), build.scalar(5, np.int64))
    chosen = build.shaped(
        f"batch seq {WIDTH}",
        "If",
        many,
        then_branch=branch("soft", "Sigmoid"),
        else_branch=branch("hard", "HardSigmoid"),
    )
    before = pooled(build.finish(build.linear(build.op("Mul", x, chosen), WIDTH, WIDTH)), "mean")
    after, _ = free_of_padding(before)
    assert_same(before, after, *EDGES)


def test_texts_and_positions_are_broadcast_to_their_tokens():
    """[1, seq, width] by the column of a token, [batch, 1, width] by its text, [seq, width] by its column."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    at = build.op("Cast", build.positions(), to=FLOAT)
    column = build.op("Mul", build.op("Unsqueeze", at, build.ints(0, 2)), build.weight(WIDTH))
    flat = build.op("Mul", build.op("Unsqueeze", at, build.ints(1)), build.weight(WIDTH))
    count = build.op("ReduceSum", build.op("Cast", build.mask, to=FLOAT), build.ints(1), keepdims=1)
    text = build.op("Mul", build.op("Unsqueeze", count, build.ints(2)), build.weight(WIDTH))
    shown = build.op("Unsqueeze", build.op("Cast", build.mask, to=9), build.ints(2))
    for value in (column, flat, text):
        x = build.op("Add", x, value)
    x = build.op("Where", shown, x, build.scalar(0))
    before = pooled(build.finish(build.linear(x, WIDTH, WIDTH)), "mean")
    after, result = free_of_padding(before)
    assert layouts(after) == {(1, "tokens"): 2}
    assert result.packs == 5
    assert_same(before, after, *EDGES)


def test_texts_that_are_cut_are_not_laid_out_like_the_mask():
    """[batch, min(6, seq), width]: places in the batch are others than in the attention_mask."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    cut = build.shaped(f"batch Min(6,seq) {WIDTH}", "Slice", x, build.ints(0), build.ints(6), build.ints(1))
    for _ in range(2):
        weight = build.weight(WIDTH, WIDTH)
        cut = build.shaped(f"batch Min(6,seq) {WIDTH}", "MatMul", cut, weight)
    output = build.shaped(f"batch {WIDTH}", "ReduceMax", cut, build.ints(1), keepdims=0)
    model = build.model(output)
    cleanup(model)
    before = model.clone()
    PaddingFreePass()(model)
    cut_products = [n for n in model.graph if n.op_type == "MatMul" and "Min(6,seq)" in (dims_of(n.outputs[0]) or ())]
    assert len(cut_products) == 2
    assert_same(before, model, batch_of(np.ones((2, 9))), batch_of(np.tri(9)))


def test_a_region_without_a_product_stays():
    build = EncoderBuilder()
    model = pooled(build.finish(build.norm(build.embeddings())), "mean")
    free = PaddingFreePass()
    assert not free(model).modified
    assert free.result.why == "no token-wise matrix product"


# Where it would be wrong.


def test_an_encoder_that_is_not_pooled_would_show_its_padding_and_is_refused():
    model = canonical(encoder(Style()))
    before = to_bytes(model)
    with pytest.raises(ir.passes.PreconditionError, match="last_hidden_state"):
        PaddingFreePass()(model)
    assert to_bytes(model) == before


def test_a_further_output_of_hidden_states_or_of_unknown_shape_is_refused():
    model = pooled(canonical(encoder(Style())), "mean")
    hidden = next(n for n in model.graph if n.op_type == "LayerNormalization").outputs[0]
    model.graph.outputs.append(hidden)
    with pytest.raises(ir.passes.PreconditionError, match="would show them"):
        PaddingFreePass()(model)
    model.graph.outputs.pop()
    model.graph.outputs[0].shape = None
    with pytest.raises(ir.passes.PreconditionError, match="would show them"):
        PaddingFreePass()(model)


@pytest.mark.parametrize("dims", [None, ("batch", 1, 1, "seq"), ("b", "s"), (2, 8)])
def test_a_mask_of_other_dimensions_is_refused(dims):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq", 8)
    if dims is not None:
        mask = build.input("attention_mask", INT64, *dims)
        x = build.op("Mul", x, build.op("Cast", build.op("ReduceSum", mask), to=FLOAT))
    output = build.op("ReduceSum", x, build.constant("axes", [1], np.int64), keepdims=0)
    output.shape = ir.Shape(["batch", 8])
    with pytest.raises(ir.passes.PreconditionError, match=r"\[batch, seq\], got"):
        PaddingFreePass()(build.model(output))


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
