import numpy as np
import pytest

from graphs.mask.mask_readers import mask_uses, mask_values
from tests.graphs.build import FLOAT
from tests.graphs.encoders import LOWEST, EncoderBuilder, Style, encoder


def uses_of(model):
    return [(use.node.op_type, use.place) for value in mask_values(model.graph) for use in mask_uses(value)]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (Style(), [("Attention", 3)] * 2),
        (Style(attention="products"), [("Add", 1)] * 2),
        (Style(attention="products", mask="where"), [("Where", 0)] * 2),
        (Style(position="bias"), [("Add", 1)]),
        (Style(position="bias", attention="products"), [("Add", 1)] * 2),
        (Style(behind=3, ahead=0), [("Attention", 3)] * 2),
    ],
)
def test_a_mask_is_read_where_scores_begin(style, expected):
    assert uses_of(encoder(style)) == expected


def with_scores(make):
    """Scores [batch, 4, seq, seq] that `make` does something to; the last node is a Softmax unless it makes none."""
    build = EncoderBuilder()
    query = build.heads(build.embeddings(), 4)
    scores = build.op("MatMul", query, build.op("Transpose", query, perm=[0, 1, 3, 2]))
    masked = make(build, scores)
    model = build.finish(build.merged(build.op("MatMul", masked, query)))
    return model


def added(build, scores):
    return build.op("Add", scores, build.op("Where", build.allowed(), build.scalar(0), build.scalar(LOWEST)))


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (lambda b, s: b.op("Softmax", s, axis=-1), 1),
        (lambda b, s: b.op("Softmax", s, axis=3), 1),
        (lambda b, s: b.op("Softmax", b.op("Div", b.op("Mul", s, b.scalar(3)), b.scalar(2))), 1),
        (lambda b, s: b.op("Softmax", b.op("Add", s, b.bias(batch=True))), 1),
        (lambda b, s: b.op("Softmax", s, axis=2), 0),
        (lambda b, s: b.op("Sigmoid", s), 0),
        (lambda b, s: b.op("Softmax", b.op("Tanh", s)), 0),
        (lambda b, s: b.op("Add", b.op("Softmax", s), s), 0),
    ],
)
def test_a_sum_is_masked_scores_where_a_softmax_over_keys_follows(after, found):
    assert len(uses_of(with_scores(lambda b, s: after(b, added(b, s))))) == found


@pytest.mark.parametrize(
    ("fill", "side", "switches_off"),
    [(-1e4, 2, False), (-np.inf, 2, False), (-1e9, 1, True), (-9.0, 2, None), (1e9, 1, None)],
)
def test_a_selection_switches_off_where_it_takes_the_large_number(fill, side, switches_off):
    def make(b, scores):
        branches = [b.scalar(fill), scores] if side == 1 else [scores, b.scalar(fill)]
        return b.op("Softmax", b.op("Where", b.allowed(), *branches))

    model = with_scores(make)
    uses = [use for value in mask_values(model.graph) for use in mask_uses(value)]
    assert [(use.fill, use.switches_off) for use in uses] == ([] if switches_off is None else [(side, switches_off)])


def test_what_else_reads_a_mask_does_not_switch_attention_off():
    build = EncoderBuilder()
    shown = build.op("Unsqueeze", build.op("Cast", build.mask, to=FLOAT), build.ints(2))
    model = build.finish(build.op("Mul", build.embeddings(), shown))
    assert [value.name for value in mask_values(model.graph)] == [shown.name]
    assert uses_of(model) == []


def test_shapes_and_ids_are_no_masks():
    build = EncoderBuilder()
    padding = build.op("Equal", build.ids, build.scalar(0, np.int64))
    both = build.op("And", padding, build.op("Cast", build.mask, to=9))
    x = build.op("Where", build.op("Unsqueeze", both, build.ints(2)), build.scalar(0), build.embeddings())
    model = build.finish(
        build.op("Add", x, build.op("Unsqueeze", build.op("Cast", build.positions(), to=FLOAT), build.ints(1)))
    )
    names = {value.name for value in mask_values(model.graph)}
    assert names == {next(n for n in model.graph if n.op_type == "Cast" and n.inputs[0] is build.mask).outputs[0].name}
