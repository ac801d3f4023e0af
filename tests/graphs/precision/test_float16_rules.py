"""For every rule: without it the rehearsal fails, with it the rehearsal passes."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.encoder.rms_norm import RmsNormPass
from graphs.pooling.fold_head import FoldHeadPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Activation, Dense, Normalize
from graphs.pooling.strategy import PoolingMode
from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.float16_rules import CONSTANT_RANGE, MASK_LIMIT, OPERATOR, RULES
from graphs.precision.mask_constants import find_mask_flow
from graphs.precision.rehearsal import RehearseFloat16Pass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, cosine, run

SIZE = 8


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


class EncoderBuilder(GraphBuilder):
    """Starts with token vectors of a given size, and ends as an encoder does."""

    def __init__(self, scale):
        super().__init__()
        ids = self.input("input_ids", INT64, "batch", "seq")
        self.mask = self.input("attention_mask", INT64, "batch", "seq")
        table = self.constant("table", np.append(random(49, SIZE), np.zeros((1, SIZE)), 0) * scale)
        self.tokens = self.op("Gather", table, ids, name="tokens")

    def encoder(self, hidden):
        hidden.name = "last_hidden_state"
        hidden.shape = ir.Shape(["batch", "seq", SIZE])
        return self.model(hidden)

    def norm(self, hidden):
        return self.op("LayerNormalization", hidden, self.constant("gain", random(SIZE) + 1))

    def integers(self, *values):
        return self.constant(f"i{len(self.constants)}", values, np.int64)

    def positions(self):
        """0, 1, ... as float32 [seq]."""
        size = self.op("Squeeze", self.op("Shape", self.mask, start=1), self.integers(0))
        zero, one = (self.constant(f"n{i}", i, np.int64) for i in (0, 1))
        return self.op("Cast", self.op("Range", zero, size, one), to=1)


def mask_feeds(seq=6):
    ids = np.random.default_rng(seq).integers(0, 49, (3, seq))
    return {"input_ids": ids, "attention_mask": (np.arange(seq) < np.array([[seq], [2], [1]])).astype(np.int64)}


def head_overflow():
    """A dense layer whose sums pass 65504, on vectors that are normalised afterwards."""
    build = EncoderBuilder(scale=2000)
    model = build.encoder(build.op("Identity", build.tokens))
    FoldPoolingPass((PoolingMode.MEAN,))(model)
    FoldHeadPass((Dense(np.full((4, SIZE), 30, np.float32), None, Activation.IDENTITY), Normalize()))(model)
    return model, mask_feeds(), {}


def folded(model, mode=PoolingMode.MEAN):
    FoldPoolingPass((mode,))(model)
    return model


def rotary_positions():
    """Hidden states turned by cos(position * frequency), far from the start."""
    build = EncoderBuilder(scale=1)
    frequency = build.constant("frequency", np.geomspace(1, 0.01, SIZE))
    positions = build.op("Unsqueeze", build.positions(), build.integers(-1))
    turned = build.op("Mul", build.tokens, build.op("Cos", build.op("Mul", positions, frequency)))
    return folded(build.encoder(turned), PoolingMode.LASTTOKEN), mask_feeds(2500), {}


def large_weight():
    build = EncoderBuilder(scale=1e-3)
    weight = random(SIZE, SIZE) * 1e5
    return (
        folded(build.encoder(build.norm(build.op("MatMul", build.tokens, build.constant("w", weight))))),
        mask_feeds(),
        {},
    )


def mask_constant(mode=PoolingMode.MEAN):
    """transformers' eager attention: (1 - mask) * lowest, added to the scores."""
    build = EncoderBuilder(scale=1)
    mask = build.op("Unsqueeze", build.op("Cast", build.mask, to=1), build.integers(1))
    off = build.op("Mul", build.op("Sub", build.constant("one", 1), mask), build.constant("lowest", np.finfo("f").min))
    scores = build.op("MatMul", build.tokens, build.op("Transpose", build.tokens, perm=[0, 2, 1]))
    attended = build.op("MatMul", build.op("Softmax", build.op("Add", scores, off), axis=-1), build.tokens)
    return folded(build.encoder(attended), mode), mask_feeds(), {}


def large_constant():
    build = EncoderBuilder(scale=1e4)
    return folded(build.encoder(build.op("Div", build.tokens, build.constant("scale", 1e6)))), mask_feeds(), {}


def decomposed_norm():
    """x * rsqrt(mean(x ** 2) + eps), where x ** 2 passes 65504."""
    build = EncoderBuilder(scale=500)
    mean = build.op("ReduceMean", build.op("Pow", build.tokens, build.constant("two", 2)), build.integers(-1))
    root = build.op("Sqrt", build.op("Add", mean, build.constant("eps", 1e-6)))
    return folded(build.encoder(build.op("Mul", build.tokens, build.op("Reciprocal", root)))), mask_feeds(), {}


def tiny_epsilon():
    """x / max(|x|, eps) on a token whose vector is zero."""
    build = EncoderBuilder(scale=1)
    size = build.op("Max", build.op("Abs", build.tokens), build.constant("eps", 1e-9))
    feeds = mask_feeds()
    feeds["input_ids"][0, 1] = 49
    return folded(build.encoder(build.op("Div", build.tokens, size))), feeds, {}


def measured_tensor():
    """An intermediate tensor beyond fp16; behind a reshape, which is not measured, it is divided again."""
    build = EncoderBuilder(scale=1000)
    large = build.op("Mul", build.tokens, build.constant("up", 100), name="large")
    moved = build.op("Transpose", large, perm=[0, 2, 1])
    back = build.op("Transpose", build.op("Mul", moved, build.constant("down", 1e-3)), perm=[0, 2, 1])
    return folded(build.encoder(build.norm(back))), mask_feeds(), {"large": 3e5}


CASES = {
    "pooling": head_overflow,
    "position": rotary_positions,
    "weight-range": large_weight,
    "constant-range": mask_constant,
    "reduction": decomposed_norm,
    "tiny-constant": tiny_epsilon,
    "measured-range": measured_tensor,
}


def converted(case, rules):
    model, feeds, measured = case()
    cleanup(model)
    expected = run(model, feeds)[0]
    assert np.isfinite(expected).all()
    convert = ConvertToFloat16Pass(measured, {}, rules)
    convert(model)
    return model, convert.kept, feeds, expected


def rehearsed_cosine(case, rules):
    model, _, feeds, expected = converted(case, rules)
    RehearseFloat16Pass()(model)
    return cosine(run(model, feeds)[0], expected)


def without(name):
    return tuple(rule for rule in RULES if rule.name != name)


def test_every_rule_has_a_case():
    assert {rule.name for rule in RULES} == {*CASES, OPERATOR.name}
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("name", CASES)
def test_the_rehearsal_passes_with_the_rule_and_fails_without_it(name):
    assert rehearsed_cosine(CASES[name], RULES) >= 0.9999
    assert not rehearsed_cosine(CASES[name], without(name)) >= 0.99  # NaN fails as well


def test_a_constant_that_is_no_mask_keeps_its_node():
    assert rehearsed_cosine(large_constant, RULES) >= 0.9999
    assert not rehearsed_cosine(large_constant, without(CONSTANT_RANGE.name)) >= 0.99
    kept = converted(large_constant, RULES)[1]
    assert [(k.rule, k.why.split()[1]) for k in kept if k.rule != "pooling"] == [("constant-range", "scale")]


def test_a_mask_is_one_although_the_pooling_masks_with_the_same_number():
    def both():
        return mask_constant(PoolingMode.MAX)

    model, kept, _, _ = converted(both, RULES)
    assert {node.rule for node in kept} == {"pooling"}
    lowest = [v.const_value.numpy() for v in model.graph.initializers.values() if (v.name or "").startswith("lowest")]
    assert sorted(lowest) == [np.finfo("f").min, -MASK_LIMIT]
    assert rehearsed_cosine(both, RULES) >= 0.9999


def test_an_operator_without_fp16_form_keeps_the_graph_loadable():
    def float_range():
        build = EncoderBuilder(scale=1)
        zero, one = build.constant("zero", 0), build.constant("one", 1)
        size = build.op("Cast", build.op("Squeeze", build.op("Shape", build.mask, start=1), build.integers(0)), to=1)
        counted = build.op("Add", build.op("Range", zero, size, one), one)
        weights = build.op("Unsqueeze", counted, build.integers(-1))
        return folded(build.encoder(build.op("Mul", build.tokens, weights))), mask_feeds(), {}

    model, kept, feeds, expected = converted(float_range, RULES)
    assert "operator" in {node.rule for node in kept}
    assert cosine(run(model, feeds)[0], expected) >= 0.9999
    model, _, feeds, _ = converted(float_range, without(OPERATOR.name))
    with pytest.raises(Exception, match=r"float16.*Range|Range.*float16"):
        run(model, feeds)


@pytest.mark.parametrize(
    ("case", "rule", "named"),
    [
        (head_overflow, "pooling", "head"),
        (rotary_positions, "position", "Cos"),
        (large_weight, "weight-range", "w"),
        (decomposed_norm, "reduction", "ReduceMean"),
        (tiny_epsilon, "tiny-constant", "eps"),
        (measured_tensor, "measured-range", "large"),
    ],
)
def test_kept_nodes_say_what_they_are_kept_for(case, rule, named):
    model, kept, _, _ = converted(case, RULES)
    reasons = [node.why for node in kept if node.rule == rule]
    assert any(named in why.split() for why in reasons)
    assert {node.node for node in kept} <= {node.name for node in model.graph}


def test_a_mask_constant_is_clamped_and_the_attention_stays_fp16():
    model, kept, _, _ = converted(mask_constant, RULES)
    assert {node.rule for node in kept} == {"pooling"}
    lowest = model.graph.initializers["lowest"].const_value.numpy()
    assert lowest.dtype == np.float16
    assert lowest == -MASK_LIMIT
    softmax = next(node for node in model.graph if node.op_type == "Softmax")
    assert softmax.inputs[0].dtype == ir.DataType.FLOAT16


@pytest.mark.parametrize("value", [-np.inf, np.finfo(np.float32).min, -1e9])
def test_an_infinite_mask_works_as_well(value):
    def selected():
        build = EncoderBuilder(scale=1)
        mask = build.op("Unsqueeze", build.op("Cast", build.mask, to=9), build.integers(1))
        scores = build.op("MatMul", build.tokens, build.op("Transpose", build.tokens, perm=[0, 2, 1]))
        scores = build.op("Where", mask, scores, build.constant("off", value))
        return folded(build.encoder(build.op("MatMul", build.op("Softmax", scores), build.tokens))), mask_feeds(), {}

    assert rehearsed_cosine(selected, RULES) >= 0.9999
    assert {node.rule for node in converted(selected, RULES)[1]} == {"pooling"}


def test_a_float_mask_of_the_attention_operator_is_clamped_and_has_the_dtype_of_the_query():
    def additive():
        build = EncoderBuilder(scale=1)
        heads = build.op("Unsqueeze", build.tokens, build.integers(1))
        mask = build.op("Unsqueeze", build.op("Cast", build.mask, to=1), build.integers(1, 2))
        lowest = build.constant("lowest", np.finfo(np.float32).min)
        # ONNX Runtime wants the mask for every query: [batch, 1, seq, seq].
        queries = build.op("Mul", build.op("Transpose", mask, perm=[0, 1, 3, 2]), build.constant("zero", 0))
        padded = build.op("Sub", build.constant("one", 1), build.op("Add", mask, queries))
        off = build.op("Mul", padded, lowest)
        attended = build.op("Squeeze", build.op("Attention", heads, heads, heads, off), build.integers(1))
        return folded(build.encoder(attended)), mask_feeds(), {}

    model, kept, _, _ = converted(additive, RULES)
    attention = next(node for node in model.graph if node.op_type == "Attention")
    assert {value.dtype for value in attention.inputs} == {ir.DataType.FLOAT16}
    assert {node.rule for node in kept} == {"pooling"}
    assert rehearsed_cosine(additive, RULES) >= 0.9999
    assert not rehearsed_cosine(additive, without(CONSTANT_RANGE.name)) >= 0.99


def test_measured_masked_scores_do_not_drive_the_attention_to_fp32():
    model, _, _ = mask_constant()
    masked = next(node for node in model.graph if node.op_type == "Softmax").inputs[0].name
    cleanup(model)
    convert = ConvertToFloat16Pass({masked: 3.4e38}, {})
    convert(model)
    assert {node.rule for node in convert.kept} == {"pooling"}


def test_a_norm_as_one_operator_stays_fp32():
    def norm():
        model, feeds, measured = decomposed_norm()
        cleanup(model)
        RmsNormPass()(model)
        return model, feeds, measured

    model, kept, _, _ = converted(norm, RULES)
    operator = next(node for node in model.graph if node.op_type == "RMSNormalization")
    assert [node.node for node in kept if node.rule == "reduction"] == [operator.name]
    assert {value.dtype for value in (*operator.inputs, *operator.outputs)} == {FLOAT}
    assert rehearsed_cosine(norm, RULES) >= 0.999999


@pytest.mark.parametrize(
    ("largest", "kept"), [(32752.0, False), (32753.0, True), (float("inf"), True), (float("nan"), True)]
)
def test_the_measured_limit_is_half_of_fp16(largest, kept):
    model, _, _ = measured_tensor()
    cleanup(model)
    convert = ConvertToFloat16Pass({"large": largest}, {})
    convert(model)
    assert ("measured-range" in {node.rule for node in convert.kept}) is kept


def test_large_weights_below_the_limit_and_tiny_values_among_weights_keep_nothing():
    build = EncoderBuilder(scale=1e-3)
    weight = np.full((SIZE, SIZE), 1e-7)
    weight[0, 0] = 65504
    model = folded(build.encoder(build.op("MatMul", build.tokens, build.constant("w", weight))))
    cleanup(model)
    convert = ConvertToFloat16Pass({}, {})
    convert(model)
    assert {node.rule for node in convert.kept} == {"pooling"}


def test_a_residual_behind_a_mean_is_not_part_of_its_norm():
    build = EncoderBuilder(scale=1)
    mean = build.op("ReduceMean", build.tokens, build.integers(1))
    model = folded(build.encoder(build.op("Add", build.tokens, mean, name="residual")))
    cleanup(model)
    convert = ConvertToFloat16Pass({}, {})
    convert(model)
    assert [node.node for node in convert.kept if node.rule == "reduction"] == ["n_reducemean_1"]


def test_a_large_constant_that_also_goes_elsewhere_is_no_mask():
    build = GraphBuilder()
    scores = build.input("scores", FLOAT, "batch", 4)
    off = build.constant("off", -1e9)
    attended = build.op("Softmax", build.op("Add", scores, off))
    only_mask = find_mask_flow(build.model(attended).graph)
    assert {value.name for value in only_mask.constants} == {"off"}
    assert {value.name for value in only_mask.tensors} == {"add_0"}

    build = GraphBuilder()
    scores = build.input("scores", FLOAT, "batch", 4)
    masked = build.op("Add", scores, build.constant("off", -1e9))
    assert not find_mask_flow(build.model(build.op("Softmax", masked), build.op("Tanh", masked)).graph).constants
