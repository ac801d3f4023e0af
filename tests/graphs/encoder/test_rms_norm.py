import numpy as np
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.encoder.rms_norm import RmsNormPass
from tests.graphs.build import FLOAT, GraphBuilder, ops, run, to_bytes

SIZE = 8
WEIGHT = np.linspace(-1.5, 2, SIZE).astype(np.float32)
EPSILON = 1e-5
TOKENS = ("batch", "seq", SIZE)
HEADS = ("batch", "seq", 3, SIZE)


class Norm(GraphBuilder):
    """An RMS norm written out; each method is one place where exporters differ."""

    def __init__(self, dims=TOKENS, *, opset=23):
        super().__init__(opset)
        self.dims = dims
        self.x = self.input("x", FLOAT, *dims)

    def square(self, way="pow"):
        return self.op("Pow", self.x, self.constant("two", 2)) if way == "pow" else self.op("Mul", self.x, self.x)

    def mean(self, square, axes=(-1,), **attributes):
        return self.op("ReduceMean", square, self.constant("axes", axes, np.int64), **attributes)

    def variance(self, mean, epsilon=EPSILON, *, first=False):
        terms = [mean, self.constant("epsilon", epsilon)]
        return self.op("Add", *(terms[::-1] if first else terms))

    def divided(self, variance, way="reciprocal"):
        if way == "power":
            return self.op("Mul", self.op("Pow", variance, self.constant("power", -0.5)), self.x)
        root = self.op("Sqrt", variance)
        if way == "division":
            return self.op("Div", self.x, root)
        inverse = self.op("Reciprocal", root)
        if way == "one over":
            inverse = self.op("Div", self.constant("one", 1), root)
        return self.op("Mul", self.x, inverse)

    def scaled(self, normed, way="constant"):
        weight = self.constant("weight", WEIGHT)
        match way:
            case "none":
                return normed
            case "in front":
                return self.op("Mul", weight, normed)
            case "one plus":
                return self.op("Mul", normed, self.op("Add", self.constant("plus", 1), weight))
            case "computed":
                return self.op("Mul", normed, self.op("Mul", weight, self.input("gate", FLOAT, SIZE)))
        return self.op("Mul", normed, weight)

    def whole(
        self, *, square="pow", axes=(-1,), epsilon=EPSILON, first=False, division="reciprocal", weight="constant"
    ):
        mean = self.mean(self.square(square), axes)
        normed = self.divided(self.variance(mean, epsilon, first=first), division)
        return self.clean(self.scaled(normed, weight))

    def clean(self, output):
        output.name = "out"
        model = self.model(output)
        cleanup(model)
        return model


def feeds(dims=TOKENS, scale=1.0):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[n if isinstance(n, int) else 5 for n in dims]) * scale
    return {"x": x.astype(np.float32), "gate": rng.normal(size=SIZE).astype(np.float32)}


def expected(given, weight, epsilon):
    x = given["x"].astype(np.float64)
    scale = {"none": 1.0, "one plus": 1.0 + WEIGHT, "computed": WEIGHT * given["gate"]}.get(weight, WEIGHT)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + np.float64(np.float32(epsilon))) * scale


DIALECTS = [
    {},
    {"square": "product"},
    {"first": True},
    {"division": "division"},
    {"division": "one over"},
    {"division": "power"},
    {"weight": "in front"},
    {"weight": "one plus"},
    {"weight": "computed"},
    {"weight": "none"},
    {"epsilon": 1e-12},
    {"axes": (2,)},
]


@pytest.mark.parametrize("dims", [TOKENS, HEADS], ids=["tokens", "heads"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_every_dialect_becomes_the_operator_and_gives_the_same(dialect, dims):
    dialect = dialect | ({"axes": (3,)} if dims == HEADS and "axes" in dialect else {})
    model = Norm(dims).whole(**dialect)
    replace = RmsNormPass()
    assert replace(model).modified
    assert replace.norms == 1
    cleanup(model)
    assert [op for op in ops(model) if op != "Mul"] == ["RMSNormalization"]
    assert ("Mul" in ops(model)) is (dialect.get("weight") == "computed")
    assert model.graph.outputs[0].name == "out" and model.graph.outputs[0].shape is not None
    # As small as this, epsilon is most of the mean.
    for scale in (1.0, 1e-3, 1e4):
        given = feeds(dims, scale)
        weight, epsilon = dialect.get("weight", "constant"), dialect.get("epsilon", EPSILON)
        right = expected(given, weight, epsilon)
        np.testing.assert_allclose(run(model, given)[0], right, rtol=2e-6, atol=1e-7)


def test_epsilon_is_kept_to_the_bit_and_the_sum_is_fp32():
    model = Norm(HEADS).whole(epsilon=1.2345678e-6)
    assert RmsNormPass()(model).modified
    norm = next(node for node in model.graph if node.op_type == "RMSNormalization")
    assert norm.attributes["axis"].as_int() == -1
    assert np.float32(norm.attributes["epsilon"].as_float()) == np.float32(1.2345678e-6)
    assert norm.attributes["stash_type"].as_int() == FLOAT


def test_a_sum_of_constants_too_long_for_cleanup_becomes_one_weight():
    build = Norm(("batch", "seq", 2000))
    normed = build.divided(build.variance(build.mean(build.square())))
    weight = np.linspace(0, 1, 2000, dtype=np.float32)
    plus = build.op("Add", build.constant("weight", weight), build.constant("plus", 1))
    model = build.clean(build.op("Mul", normed, plus))
    assert "Add" in ops(model)
    RmsNormPass()(model)
    cleanup(model)
    assert ops(model) == ["RMSNormalization"]
    np.testing.assert_array_equal(model.graph.node(0).inputs[1].const_value.numpy(), weight + 1)


def test_a_second_application_changes_nothing():
    model = Norm().whole()
    RmsNormPass()(model)
    cleanup(model)
    once = to_bytes(model)
    assert not RmsNormPass()(model).modified
    assert to_bytes(model) == once


def near_misses():
    build = Norm()
    yield (
        "the epsilon is an input",
        build.scaled(build.divided(build.op("Add", build.mean(build.square()), build.input("e", FLOAT))), "none"),
        build,
    )
    build = Norm()
    yield "no epsilon", build.divided(build.mean(build.square())), build
    build = Norm()
    yield "the epsilon is negative", build.divided(build.variance(build.mean(build.square()), -EPSILON)), build
    build = Norm()
    yield "the epsilon has more axes", build.divided(build.variance(build.mean(build.square()), [[[[EPSILON]]]])), build
    build = Norm(HEADS)
    yield "over the heads alone", build.divided(build.variance(build.mean(build.square(), (2,)))), build
    build = Norm(HEADS)
    yield "over heads and values", build.divided(build.variance(build.mean(build.square(), (2, 3)))), build
    build = Norm(("batch", 5, 5))
    dropped = build.mean(build.square(), keepdims=0)
    yield "the axis is dropped", build.divided(build.variance(dropped)), build
    build = Norm()
    cube = build.op("Pow", build.x, build.constant("three", 3))
    yield "a cube", build.divided(build.variance(build.mean(cube))), build
    build = Norm()
    other = build.op("Abs", build.x)
    yield "the square of another", build.divided(build.variance(build.mean(build.op("Mul", other, other)))), build
    build = Norm()
    yield "no square", build.divided(build.variance(build.mean(build.op("Mul", build.x, other_input(build))))), build
    build = Norm()
    yield (
        "a sum",
        build.divided(build.variance(build.op("ReduceSum", build.square(), build.constant("a", [-1], np.int64)))),
        build,
    )
    build = Norm(("batch", "seq", "size"))
    yield "an unknown size", build.divided(build.variance(build.mean(build.square()))), build
    build = Norm(opset=22)
    yield "an opset without the operator", build.divided(build.variance(build.mean(build.square()))), build


def other_input(build):
    return build.input("y", FLOAT, *build.dims)


@pytest.mark.parametrize(("output", "build"), [pytest.param(*rest, id=name) for name, *rest in near_misses()])
def test_near_misses_stay(output, build):
    model = build.clean(output)
    before = to_bytes(model)
    assert not RmsNormPass()(model).modified
    assert to_bytes(model) == before


@pytest.mark.parametrize("which", ["two readers", "an output", "a weight for each token"])
def test_a_product_that_is_no_weight_follows_the_norm(which):
    build = Norm()
    normed = build.divided(build.variance(build.mean(build.square())))
    weight = build.input("w", FLOAT, "batch", "seq", 1) if which.startswith("a weight") else build.constant("w", WEIGHT)
    outputs = [build.op("Mul", normed, weight)]
    outputs += [normed] if which == "an output" else []
    outputs += [build.op("Abs", normed)] if which == "two readers" else []
    model = build.model(*outputs)
    cleanup(model)
    given = feeds() | {"w": np.full((5, 5, 1), 3, np.float32)}
    before = run(model, given)
    assert RmsNormPass()(model).modified
    cleanup(model)
    assert [op for op in ops(model) if op != "Abs"] == ["RMSNormalization", "Mul"]
    for got, right in zip(run(model, given), before, strict=True):
        np.testing.assert_allclose(got, right, rtol=2e-6, atol=1e-7)
