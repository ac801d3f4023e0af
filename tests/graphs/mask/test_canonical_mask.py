import dataclasses
import itertools

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from graphs.encoder.cleanup import cleanup
from graphs.ir.masks import MaskForm
from graphs.ir.stage import stage_of
from graphs.mask.canonical_mask import CanonicalMaskPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, session, to_bytes
from tests.graphs.encoders import (
    EDGES,
    HEAD,
    HEADS,
    LOWEST,
    WIDTH,
    EncoderBuilder,
    Style,
    assert_same_vectors,
    batch_of,
    batches,
    encoder,
    pooled,
    run_on,
    styles,
)

PADDING = MaskForm(None, None, query_too=False)


def applied(model, *, clean=True):
    """A clone with the pass run on it, and what it says."""
    model, canonical = model.clone(), CanonicalMaskPass()
    result = canonical(model)
    assert result.modified == bool(canonical.masks)
    if clean:
        cleanup(model)
    return model, canonical


class ScoresBuilder(EncoderBuilder):
    """One attention in products, whose scores are masked by what a test gives."""

    def products(self, x, masked, *, axis=-1):
        query, key, value = (self.heads(self.linear(x, WIDTH, WIDTH), HEADS) for _ in range(3))
        scores = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        context = self.op("MatMul", self.op("Softmax", masked(scores), axis=axis), value)
        return self.op("Add", x, self.linear(self.merged(context), WIDTH, WIDTH))

    def operator(self, x, mask, **attributes):
        query, key, value = (self.heads(self.linear(x, WIDTH, WIDTH), HEADS) for _ in range(3))
        context = self.shaped(f"batch {HEADS} seq {HEAD}", "Attention", query, key, value, mask, **attributes)
        return self.op("Add", x, self.linear(self.merged(context), WIDTH, WIDTH))


def with_scores(masked, **attributes):
    build = ScoresBuilder()
    return build.finish(build.products(build.embeddings(), lambda scores: masked(build, scores), **attributes))


def with_mask(mask, **attributes):
    build = ScoresBuilder()
    return build.finish(build.operator(build.embeddings(), mask(build), **attributes))


def assert_same_where_a_key_is_allowed(before, after, *given_batches):
    """The token vectors at tokens; padding may come out otherwise."""
    for batch, a, b in zip(given_batches, run_on(before, *given_batches), run_on(after, *given_batches), strict=True):
        token = batch["attention_mask"] > 0
        assert_same_vectors(b[token], a[token])


# What it makes.


def test_all_layers_share_one_mask():
    model, canonical = applied(encoder(Style(layers=3)), clean=False)
    (mask,) = canonical.masks
    assert (mask.form, mask.readers, canonical.unrecognised) == (PADDING, 3, ())
    attentions = [node for node in model.graph if node.op_type == "Attention"]
    assert len({node.inputs[3] for node in attentions}) == 1
    made = [node.op_type for node in model.graph if stage_of(node) == "mask"]
    assert sorted(made) == ["Cast", "Concat", "Expand", "Shape", "Shape", "Unsqueeze", "Where"]
    cleanup(model)
    assert not {"And", "Equal", "Range"} & set(ops(model))


def test_products_read_the_mask_as_it_is():
    for style in (Style(attention="products"), Style(attention="products", mask="where")):
        model, canonical = applied(encoder(style), clean=False)
        assert [mask.form for mask in canonical.masks] == [PADDING]
        made = [node for node in model.graph if stage_of(node) == "mask"]
        assert [node.op_type for node in made] == ["Cast", "Unsqueeze", "Where"]
        assert {node.op_type for node in made[-1].outputs[0].consumers()} == {"Add"}
        cleanup(model)
        assert ops(model).count("Where") == 1


@pytest.mark.parametrize(("behind", "ahead"), [(None, 0), (2, None), (2, 3), (0, 0)])
def test_a_band_is_written_from_positions(behind, ahead):
    _, canonical = applied(encoder(Style(behind=behind, ahead=ahead)))
    assert [mask.form for mask in canonical.masks] == [MaskForm(behind, ahead, query_too=False)]


def test_layers_of_different_bands_get_a_mask_each():
    build = EncoderBuilder()
    style, near, far = Style(), build.allowed(2, 2), build.allowed()
    x = build.embeddings()
    for allowed in (near, far, near):
        x = build.layer(x, style, allowed)
    model = build.finish(x)
    rewritten, canonical = applied(model)
    assert {(mask.form.behind, mask.form.ahead, mask.readers) for mask in canonical.masks} == {
        (2, 2, 2),
        (None, None, 1),
    }
    assert len({node.inputs[3] for node in rewritten.graph if node.op_type == "Attention"}) == 2
    assert_same_where_a_key_is_allowed(model, rewritten, *EDGES)


def test_a_bias_that_the_mask_is_added_to_or_selects_from_stays():
    def selected(b):
        return b.op("Where", b.allowed(), b.bias(batch=True), b.scalar(LOWEST))

    def added(b):
        return b.op("Add", b.bias(batch=False), b.op("Where", b.allowed(), b.scalar(0), b.scalar(-1e9)))

    for mask in (selected, added):
        model = with_mask(mask)
        rewritten, canonical = applied(model)
        assert [m.form for m in canonical.masks] == [PADDING]
        assert_same_where_a_key_is_allowed(model, rewritten, *EDGES)


def test_padding_may_be_selected_on_either_side():
    def inverted(b, scores):
        return b.op("Where", b.op("Not", b.allowed()), b.scalar(-1e9), scores)

    model = with_scores(inverted)
    rewritten, canonical = applied(model)
    assert [mask.form for mask in canonical.masks] == [PADDING]
    assert_same_where_a_key_is_allowed(model, rewritten, *EDGES)


def test_one_mask_read_both_ways_is_read_as_each_reader_means_it():
    """The second reader masks tokens and keeps padding: no form, and it stays."""

    def both(b, scores):
        allowed = b.allowed()
        wrong = b.op("Where", allowed, b.scalar(-1e9), scores)
        return b.op("Add", b.op("Where", allowed, scores, b.scalar(-1e9)), b.op("Mul", wrong, b.scalar(0)))

    model = with_scores(both)
    rewritten, canonical = applied(model)
    assert [mask.readers for mask in canonical.masks] == [1]
    assert len(canonical.unrecognised) == 1
    assert_same_where_a_key_is_allowed(model, rewritten, *EDGES)


# Numbers.


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(style=styles, batch=batches())
def test_the_same_vectors_for_every_style(style, batch):
    """A query that may attend to no key is uniform now; no token is one, for it may attend to itself."""
    model = encoder(style)
    rewritten, canonical = applied(model)
    assert canonical.masks and not canonical.unrecognised
    (before,), (after,) = run_on(pooled(model, "mean"), batch), run_on(pooled(rewritten, "mean"), batch)
    assert_same_vectors(after, before)


@pytest.mark.parametrize("lowest", [-1e4, -1e9, -65504.0, LOWEST, -np.inf])
@pytest.mark.parametrize("query_too", [False, True])
def test_whatever_number_switches_off(lowest, query_too):
    def masked(b, scores):
        allowed = b.tokens()
        if query_too:
            allowed = b.op("And", allowed, b.op("Unsqueeze", b.op("Cast", b.mask, to=9), b.ints(1, 3)))
        return b.op("Add", scores, b.op("Where", allowed, b.scalar(0), b.scalar(lowest)))

    model = with_scores(masked)
    rewritten, canonical = applied(model)
    assert [mask.form for mask in canonical.masks] == [dataclasses.replace(PADDING, query_too=query_too)]
    some = [batch for batch in EDGES if batch["attention_mask"].any(axis=1).all()]
    assert_same_where_a_key_is_allowed(model, rewritten, *some)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_mask_that_is_dropped_would_show(layers):
    model = encoder(Style(layers=layers))
    rewritten, _ = applied(model)
    for node in rewritten.graph:
        if node.op_type == "Where" and stage_of(node) == "mask":
            node.replace_input_with(2, node.inputs[1])
    with pytest.raises(AssertionError):
        assert_same_where_a_key_is_allowed(model, rewritten, *EDGES)


@pytest.mark.parametrize("limit", ["behind_2", "ahead_3"])
def test_a_band_that_is_off_by_one_would_show(limit):
    model = encoder(Style(behind=2, ahead=3))
    rewritten, _ = applied(model, clean=False)
    constant = rewritten.graph.initializers[f"mask.{limit}"]
    constant.const_value = ir.tensor(constant.const_value.numpy() + 1)
    with pytest.raises(AssertionError):
        assert_same_where_a_key_is_allowed(model, rewritten, *EDGES)


# The rest of the contract.


@pytest.mark.parametrize("style", [Style(), Style(attention="products", mask="where"), Style(behind=2, ahead=0)])
def test_a_second_application_changes_nothing_and_bytes_repeat(style):
    (first, _), (second, _) = applied(encoder(style)), applied(encoder(style))
    assert to_bytes(first) == to_bytes(second)
    canonical = CanonicalMaskPass()
    assert not canonical(first).modified
    assert canonical.masks == canonical.unrecognised == ()
    assert to_bytes(first) == to_bytes(second)


def test_a_graph_without_mask_or_with_a_mask_of_another_rank_is_refused():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq")
    with pytest.raises(ir.passes.PreconditionError, match="has none"):
        CanonicalMaskPass()(build.model(build.op("Tanh", x)))
    build = GraphBuilder()
    mask = build.input("attention_mask", INT64, "batch", 1, 1, "seq")
    model = build.model(build.op("Tanh", build.op("Cast", mask, to=FLOAT)))
    with pytest.raises(ir.passes.PreconditionError, match=r"\[batch, seq\], got"):
        CanonicalMaskPass()(model)


def test_a_graph_that_reads_no_mask_is_left_alone():
    build = EncoderBuilder()
    model = build.finish(build.linear(build.embeddings(), WIDTH, WIDTH))
    canonical = CanonicalMaskPass()
    assert not canonical(model).modified
    assert canonical.masks == canonical.unrecognised == ()


def test_work_grows_linearly_with_layers(monkeypatch):
    """Layers with a mask each: as many evaluations each, of subgraphs as large each."""
    counted = {}
    for layers in (3, 6, 12):
        build = EncoderBuilder()
        x = build.embeddings()
        for layer in range(layers):
            x = build.layer(x, Style(), build.allowed(layer + 1, layer + 1))
        model = build.finish(x)
        sizes = []
        extract = ir.convenience.extract

        def counting(*args, sizes=sizes, extract=extract, **kwargs):
            part = extract(*args, **kwargs)
            sizes.append(len(part))
            return part

        with monkeypatch.context() as patch:
            patch.setattr(ir.convenience, "extract", counting)
            canonical = CanonicalMaskPass()
            canonical(model)
        assert len(canonical.masks) == layers
        counted[layers] = sum(sizes)
    assert counted[12] == 2 * counted[6] == 4 * counted[3]


def test_every_length_and_padding_side_in_one_session():
    model = encoder(Style(behind=2, ahead=None, position="rotary"))
    rewritten, _ = applied(model)
    before, after = session(pooled(model, "mean")), session(pooled(rewritten, "mean"))
    for seq, length in itertools.product(range(1, 9), repeat=2):
        for mask in (np.arange(seq) < length, np.arange(seq)[::-1] < length):
            batch = batch_of(mask[None], seed=seq)
            feeds = {name: batch[name] for name in ("input_ids", "attention_mask")}
            assert_same_vectors(after.run(None, feeds)[0], before.run(None, feeds)[0])
