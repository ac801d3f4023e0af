import logging

import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.raise_opset import OPSET, RaiseOpsetPass
from tests.foreign import torchscript_encoder
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run, to_bytes

IDS = np.array([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
FEEDS = {"input_ids": IDS, "attention_mask": (IDS > 0).astype(np.int64), "token_type_ids": np.zeros_like(IDS)}


@pytest.mark.parametrize("opset", [11, 12, 13, 14, 17, 18])
def test_an_encoder_of_any_opset_keeps_its_numbers(opset):
    model = torchscript_encoder(opset=opset)
    expected = run(model, FEEDS)[0]
    assert RaiseOpsetPass()(model).modified
    assert model.opset_imports == {"": OPSET}
    np.testing.assert_allclose(run(model, FEEDS)[0], expected, atol=1e-6)
    assert not RaiseOpsetPass()(model).modified


def test_conventions_that_changed_are_converted():
    model = torchscript_encoder(opset=11, layers=1)
    RaiseOpsetPass()(model)
    for node in model.graph:
        if node.op_type in ("ReduceMean", "Unsqueeze"):
            assert "axes" not in node.attributes
            assert len(node.inputs) == 2


@pytest.mark.parametrize("known", [True, False])
def test_a_softmax_of_old_stays_one_where_its_rank_is_known(known):
    build = GraphBuilder(opset=11)
    x = build.op("Reshape", build.input("x", FLOAT, "rows", 4), build.input("sizes", INT64, 3 if known else "rank"))
    if known:
        x.type, x.shape = ir.TensorType(FLOAT), ir.Shape(["a", "b", 4])
    model = build.model(build.op("Softmax", x, axis=2))
    feeds = {"x": np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), "sizes": np.array([2, 3, 4])}
    before = run(model, feeds)[0]
    RaiseOpsetPass()(model)
    assert ops(model) == (["Reshape", "Softmax"] if known else ["Reshape", "Shape", "Flatten", "Softmax", "Reshape"])
    np.testing.assert_allclose(run(model, feeds)[0], before, atol=1e-6)


def test_a_later_opset_and_other_domains_stay_as_they_are():
    build = GraphBuilder(opset=OPSET + 1)
    model = build.model(build.op("Tanh", build.input("x", FLOAT, "batch", 4)))
    assert not RaiseOpsetPass()(model).modified
    assert model.opset_imports[""] == OPSET + 1

    build = GraphBuilder(opset=18)
    x = build.input("x", FLOAT, "batch", 4)
    model = build.model(build.op("Tanh", build.op("Gelu", x, domain="com.microsoft")))
    model.opset_imports["com.microsoft"] = 1
    before = run(model, {"x": np.ones((1, 4), np.float32)})[0]
    RaiseOpsetPass()(model)
    assert model.opset_imports == {"": OPSET, "com.microsoft": 1}
    np.testing.assert_array_equal(run(model, {"x": np.ones((1, 4), np.float32)})[0], before)


def unknown_operator():
    build = GraphBuilder(opset=14)
    return build.model(build.op("Riddle", build.input("x", FLOAT, "batch", 4)))


def unknown_rank():
    build = GraphBuilder(opset=18)
    x = build.op("Reshape", build.input("x", FLOAT, "batch", 4), build.input("sizes", INT64, "rank"))
    halves = build.constant("scale", np.ones(2)), build.constant("bias", np.ones(2))
    return build.model(build.op("GroupNormalization", x, *halves, num_groups=2))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unknown_operator, f"opset 14 cannot be converted to {OPSET}: Op .* no registered schema.*Riddle"),
        (unknown_rank, f"opset 18 cannot be converted to {OPSET}: .*GroupNormalization.*Missing required shape"),
    ],
    ids=["onnx", "onnxscript"],
)
def test_what_cannot_be_converted_is_refused_with_the_converters_reason_and_silently(make, said, caplog, capfd):
    with pytest.raises(ir.passes.PreconditionError, match=said):
        RaiseOpsetPass()(make())
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not logging.getLogger("onnxscript.version_converter").handlers


def test_a_graph_without_an_opset_is_refused():
    model = torchscript_encoder()
    del model.opset_imports[""]
    with pytest.raises(ir.passes.PreconditionError, match="no opset of ONNX itself"):
        RaiseOpsetPass()(model)


def test_the_same_input_gives_the_same_bytes():
    built = []
    for _ in range(2):
        model = torchscript_encoder(opset=12)
        RaiseOpsetPass()(model)
        built.append(to_bytes(model))
    assert built[0] == built[1]
