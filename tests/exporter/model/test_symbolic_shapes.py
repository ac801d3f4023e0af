import onnx_ir as ir
import pytest

from exporter.model.symbolic_shapes import infer_symbolic_shapes
from tests.foreign import torchscript_encoder
from tests.graphs.build import FLOAT, GraphBuilder, to_bytes
from tests.models import HIDDEN


def shapes(model):
    return [str(value.shape) for node in model.graph for value in node.outputs]


@pytest.mark.parametrize("opset", [11, 18])
def test_shape_arithmetic_is_followed(opset):
    model = torchscript_encoder(opset=opset, dims=("batch", "seq"))
    assert "None" in shapes(model)
    assert infer_symbolic_shapes(model) is None
    found = set(shapes(model))
    assert {f"[batch,seq,{HIDDEN}]", "[batch,2,seq,seq]", "[batch,2,16,seq]", "[1,seq]"} <= found
    assert not any("unk" in shape or "None" in shape for shape in found)


def test_only_annotations_change_and_weights_stay_where_they_are():
    model = torchscript_encoder(dims=("batch", "seq"))
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    nodes, inputs = list(model.graph), list(model.graph.inputs)
    infer_symbolic_shapes(model)
    assert list(model.graph) == nodes
    assert list(model.graph.inputs) == inputs
    assert {name: value.const_value for name, value in model.graph.initializers.items()} == tensors


def test_operators_of_onnx_runtimes_own_domain_are_known():
    build = GraphBuilder(18)
    x = build.input("x", FLOAT, "batch", "seq", 8)
    fused = build.op("BiasGelu", x, build.constant("bias", [0] * 8), domain="com.microsoft")
    model = build.model(build.op("Identity", fused))
    model.opset_imports["com.microsoft"] = 1
    assert infer_symbolic_shapes(model) is None
    assert (fused.dtype, str(fused.shape)) == (FLOAT, "[batch,seq,8]")


def test_where_it_gives_up_it_says_why_and_changes_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    build = GraphBuilder(18)
    x = build.input("x", FLOAT, "batch", 8)
    unknown = build.op("Riddle", x, domain="com.example")
    model = build.model(build.op("Add", build.op("Tanh", unknown), x))
    model.opset_imports["com.example"] = 1
    known = build.nodes[1].outputs[0]
    known.type, known.shape = ir.TensorType(FLOAT), ir.Shape(["rows", 8])
    before = to_bytes(model)
    reason = infer_symbolic_shapes(model)
    assert reason
    assert "\n" not in reason
    assert to_bytes(model) == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
