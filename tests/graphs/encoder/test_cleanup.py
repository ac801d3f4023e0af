import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.ir.stage import stage_of
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run, to_bytes


def test_an_exported_encoder_gets_smaller_typed_and_keeps_its_numbers(tiny_bert):
    model = tiny_bert.model()
    before = len(model.graph)
    assert cleanup(model)
    assert len(model.graph) < before / 2
    assert not {"Constant", "Identity", "CastLike"} & set(ops(model))
    assert all(value.dtype is not None for node in model.graph for value in node.outputs)
    np.testing.assert_allclose(run(model, tiny_bert.feeds)[0], tiny_bert.hidden, rtol=1e-4, atol=2e-6)


def test_weights_are_transposed_once_as_views(tiny_bert):
    model = tiny_bert.model()
    weights = {
        value.const_value.numpy().ctypes.data
        for value in model.graph.initializers.values()
        if len(value.const_value.shape) == 2
    }
    cleanup(model)
    products = [node for node in model.graph if node.op_type == "MatMul"]
    assert len(products) == 12
    for node in products:
        assert node.inputs[1].const_value.numpy().ctypes.data in weights


def test_a_second_time_changes_nothing(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    before = to_bytes(model)
    assert not cleanup(model)
    assert to_bytes(model) == before


def test_the_same_input_gives_the_same_bytes_without_a_path_of_this_machine(tiny_bert):
    raw = to_bytes(tiny_bert.model())
    assert b"conftest.py" in raw  # torch writes stack traces
    built = []
    for _ in range(2):
        model = tiny_bert.model()
        cleanup(model)
        built.append(to_bytes(model))
    assert built[0] == built[1]
    for trace in (b"conftest.py", b"site-packages", b"pkg.", b"aten", __file__.encode()):
        assert trace not in built[0]


def test_marks_of_a_stage_survive(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    FoldPoolingPass((PoolingMode.MEAN,))(model)
    cleanup(model)
    assert [stage_of(node) for node in model.graph].count("pooling") >= 7
    assert stage_of(next(node for node in model.graph if node.op_type == "Attention")) is None


def test_constants_fold_duplicates_merge_and_the_dead_go():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    two = build.op("Constant", value_float=2.0)
    four = build.op("Mul", two, two)
    a, b = build.op("Mul", x, four), build.op("Mul", build.op("Identity", x), build.constant("another_four", 4))
    build.op("Tanh", x)
    build.constant("unused", np.ones(9))
    model = build.model(build.op("Add", a, b))
    cleanup(model)
    assert ops(model) == ["Mul", "Add"]
    (constant,) = model.graph.initializers.values()
    assert constant.const_value.numpy() == 4
    np.testing.assert_array_equal(run(model, {"x": np.ones((1, 4), np.float32)})[0], np.full((1, 4), 8))


def test_a_gather_of_constant_rows_is_not_folded_into_a_large_table():
    build = GraphBuilder()
    ids = build.input("ids", INT64, "batch", 512)
    table, rows = build.constant("table", np.ones((512, 8))), build.constant("rows", np.arange(512), np.int64)
    positions = build.op("Gather", table, rows)
    model = build.model(build.op("Add", positions, build.op("Gather", table, ids)))
    cleanup(model)
    assert ops(model) == ["Gather", "Gather", "Add"]
    assert set(model.graph.initializers) == {"table", "rows"}


def test_a_transposed_weight_that_is_also_read_as_it_is_stays_one_weight():
    build = GraphBuilder()
    ids = build.input("ids", INT64, "batch")
    table = build.constant("table", np.random.default_rng(0).normal(size=(64, 64)))
    logits = build.op("MatMul", build.op("Gather", table, ids), build.op("Transpose", table, perm=[1, 0]))
    model = build.model(logits)
    cleanup(model)
    assert set(model.graph.initializers) == {"table"}


def test_a_value_without_a_dtype_is_named():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    unknown = build.op("Riddle", x, name="riddle", domain="com.example")
    model = build.model(build.op("Identity", build.op("Tanh", unknown)))
    model.opset_imports["com.example"] = 1
    with pytest.raises(ValueError, match="riddle"):
        cleanup(model)


def test_a_model_past_2_gb_is_cleaned_without_reading_its_weights():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 1024)
    for layer in range(10):
        weight = ir.Value(
            name=f"w{layer}",
            type=ir.TensorType(FLOAT),
            shape=ir.Shape([1024, 65536]),
            const_value=_UnreadTensor(np.broadcast_to(np.float32(0), (1024, 65536)), name=f"w{layer}"),
        )
        build.constants.append(weight)
        back = build.op(
            "Slice",
            build.op("MatMul", x, weight),
            *(build.constant(f"{k}{layer}", [v], np.int64) for k, v in (("start", 0), ("end", 1024), ("axis", 1))),
        )
        x = build.op("Identity", back)
    model = build.model(x)
    assert sum(v.const_value.nbytes for v in model.graph.initializers.values()) > 2**31
    cleanup(model)
    assert ops(model) == ["MatMul", "Slice"] * 10
    assert all(value.dtype == FLOAT for node in model.graph for value in node.outputs)


class _UnreadTensor(ir.Tensor):
    """A weight whose bytes nobody may ask for."""

    def tobytes(self) -> bytes:
        raise AssertionError(f"{self.name} was read")

    def tofile(self, file: object) -> None:
        raise AssertionError(f"{self.name} was read")
