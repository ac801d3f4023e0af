"""Recipes and the files they end in: what the manifest says of each graph is what lies there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from exporter.host.console import Console
from exporter.pipeline.recipes import SharedEncoder, TypedGraph, build_graph, fold_strategy
from exporter.pipeline.write_graphs import write_graphs
from exporter.spec.model import DType, Form
from graphs.encoder.cleanup import cleanup
from graphs.files.weights import load_graph
from graphs.pooling.head import Normalize
from graphs.pooling.strategy import Strategy, parse_strategy
from graphs.portable.lower_opset import LowerOpsetPass
from graphs.precision.float16 import ConvertToFloat16Pass
from poolfold.manifest import Graph

MEAN, CLS = parse_strategy("mean"), parse_strategy("cls")
VOCAB, WIDTH = 64, 16


@pytest.fixture
def shared() -> SharedEncoder:
    """An encoder that looks up a table and multiplies it, behind it a normalisation."""
    rng = np.random.default_rng(0)
    ids, mask = (
        ir.val(name, shape=ir.Shape(["batch", "seq"]), type=ir.TensorType(ir.DataType.INT64))
        for name in ("input_ids", "attention_mask")
    )
    weights = [
        ir.Value(name=name, const_value=ir.tensor(rng.normal(size=shape).astype(np.float32), name=name))
        for name, shape in (("table", (VOCAB, WIDTH)), ("dense", (WIDTH, WIDTH)))
    ]
    gather = ir.node("Gather", [weights[0], ids])
    product = ir.node("MatMul", [gather.outputs[0], weights[1]])
    (hidden,) = product.outputs
    hidden.name, hidden.dtype, hidden.shape = "last_hidden_state", ir.DataType.FLOAT, ir.Shape(["batch", "seq", WIDTH])
    graph = ir.Graph([ids, mask], [hidden], nodes=[gather, product], initializers=weights, opset_imports={"": 23})
    model = ir.Model(graph, ir_version=10)
    cleanup(model)
    return SharedEncoder(model, (Normalize(),))


def write(directory: Path, shared: SharedEncoder) -> tuple[Graph, ...]:
    dtypes = (DType.FP32, DType.FP16, DType.FP32)
    return write_graphs(directory, shared, (MEAN, CLS), dtypes, (DType.FP16,), Console(quiet=True))[0]


def plain(shared: SharedEncoder, strategy: Strategy, dtype: DType) -> TypedGraph:
    return build_graph(shared, fold_strategy(shared, strategy).forms[Form.PLAIN], dtype)


def files_of(graph: Graph) -> set[str]:
    free = graph.padding_free.path if graph.padding_free else None
    return {path for path in (graph.path, graph.weights, graph.packed, free) if path}


def test_each_strategy_in_each_precision_once(shared: SharedEncoder, tmp_path: Path) -> None:
    graphs = write(tmp_path, shared)
    assert [(g.path, g.weights, g.strategy, g.dtype) for g in graphs] == [
        (f"onnx/{name}_{dtype}.onnx", f"onnx/weights_{dtype}.bin", name, dtype)
        for dtype in ("fp32", "fp16")
        for name in ("mean", "cls")
    ]
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == sorted(
        {Path(path).name for g in graphs for path in files_of(g)}
    )
    for graph in graphs:
        model = load_graph(tmp_path / graph.path)
        assert (graph.status, graph.inputs, graph.output) == (
            "built", ("input_ids", "attention_mask"), "sentence_embedding",
        )  # fmt: skip
        assert (graph.nodes, graph.opset) == (len(model.graph), model.opset_imports[""])


def test_nodes_that_stay_fp32_are_counted_by_their_rule(shared: SharedEncoder, tmp_path: Path) -> None:
    for graph in write(tmp_path, shared):
        strategy, dtype = parse_strategy(graph.strategy), DType(graph.dtype)
        kept = plain(shared, strategy, dtype).kept
        assert {rule.rule: rule.nodes for rule in graph.kept_fp32} == Counter(node.rule for node in kept)
        assert all(rule.why for rule in graph.kept_fp32)
        assert bool(graph.kept_fp32) == (dtype is DType.FP16)
    # The premise of a head behind the pooling: something is kept, by more than the pooling's rule alone.
    assert {node.rule for node in plain(shared, MEAN, DType.FP16).kept} >= {"pooling"}


def test_every_form_of_a_graph_is_written_and_named(shared: SharedEncoder, tmp_path: Path) -> None:
    for graph in write(tmp_path, shared):
        if graph.strategy == "cls":  # all of this encoder is pushed down: one row a text has no padding
            assert (graph.padding_free, graph.packed) == (None, None)
            assert graph.passes["padding-free"] == "not packed: no token-wise matrix product"
            continue
        assert graph.padding_free is not None
        free = load_graph(tmp_path / graph.padding_free.path)
        assert (graph.padding_free.nodes, graph.padding_free.faster_below) == (len(free.graph), {})
        assert "NonZero" in {node.op_type for node in free.graph}
        assert (graph.packed is not None) == (graph.dtype == "fp16")  # engines are built of fp16 alone
        if graph.packed is not None:
            packed = load_graph(tmp_path / graph.packed)
            assert [v.name for v in packed.graph.inputs] == ["input_ids", "attention_mask", "token_positions"]
            assert "NonZero" not in {node.op_type for node in packed.graph}
        assert graph.passes["padding-free"].startswith("2 nodes and 1 matrix products on real tokens")


def test_cls_says_how_far_its_row_was_pushed_down_and_mean_why_not(shared: SharedEncoder, tmp_path: Path) -> None:
    said = {graph.strategy: graph.passes["row-push-down"] for graph in write(tmp_path, shared)}
    assert said["cls"].startswith("2 nodes compute one row")
    assert said["mean"] == "not moved: last_hidden_state: the pooling reads every row"


def test_a_recipe_leaves_the_encoder_as_it_was(shared: SharedEncoder) -> None:
    before = [(node.op_type, [v.name for v in node.inputs if v]) for node in shared.encoder.graph]
    for dtype in (DType.FP32, DType.FP16):
        assert plain(shared, MEAN, dtype).model.graph.outputs[0].name == "sentence_embedding"
    assert [(node.op_type, [v.name for v in node.inputs if v]) for node in shared.encoder.graph] == before
    assert shared.encoder.graph.outputs[0].name == "last_hidden_state"


def test_no_graph_is_made_in_a_precision_of_execution(shared: SharedEncoder) -> None:
    with pytest.raises(ValueError, match="bf16 is no precision of a graph; expected fp32"):
        plain(shared, MEAN, DType.BF16)


def test_the_order_of_the_passes_is_the_written_one(shared: SharedEncoder) -> None:
    fp32 = plain(shared, MEAN, DType.FP32).model
    assert [node.op_type for node in fp32.graph][:2] == ["Gather", "MatMul"]
    by_hand = plain(shared, MEAN, DType.FP32).model
    ConvertToFloat16Pass({}, {})(by_hand)
    fp16 = plain(shared, MEAN, DType.FP16).model
    assert [node.op_type for node in fp16.graph] == [node.op_type for node in by_hand.graph]
    assert fp16.graph.outputs[0].dtype == ir.DataType.FLOAT


def test_fp16_kept_fp32_by_a_measured_range_is_told(
    shared: SharedEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = SharedEncoder(shared.encoder, shared.head, {"last_hidden_state": 1e6})
    graphs, _ = write_graphs(tmp_path, loud, (MEAN,), (DType.FP16,), (), Console(quiet=True))
    rules = {rule.rule for rule in graphs[0].kept_fp32} - {"pooling"}
    assert rules
    said = capsys.readouterr().err
    assert all(f"stay fp32 by the rule {rule}" in said for rule in rules)
    assert "by the rule pooling" not in said


@pytest.mark.parametrize("dtypes", [(DType.FP32,), (DType.FP16,), (DType.FP16, DType.FP32)])
def test_the_graph_for_other_programs_shares_the_fp32_weights(
    shared: SharedEncoder, tmp_path: Path, dtypes: tuple[DType, ...]
) -> None:
    console = Console(quiet=True)
    graphs, portable = write_graphs(tmp_path, shared, (MEAN, CLS), dtypes, (), console, portable=CLS)
    assert portable is not None
    assert (portable.path, portable.weights, portable.strategy, portable.opset, portable.status) == (
        "onnx/model.onnx", "onnx/model.onnx_data", "cls", 20, "built",
    )  # fmt: skip
    assert {g.weights for g in graphs if g.dtype == "fp32"} <= {"onnx/model.onnx_data"}
    assert {g.weights for g in graphs if g.dtype == "fp16"} <= {"onnx/weights_fp16.bin"}
    model = load_graph(tmp_path / portable.path)
    assert [value.name for value in model.graph.outputs] == ["last_hidden_state", "sentence_embedding"]
    assert (tmp_path / "onnx/model.onnx_data").stat().st_size < 4 * (VOCAB * WIDTH + WIDTH * WIDTH) + 3 * 4096
    (tmp_path / "without").mkdir()
    _, none = write_graphs(tmp_path / "without", shared, (MEAN,), dtypes, (), console)
    assert none is None and not (tmp_path / "without/onnx/model.onnx").exists()


def test_without_older_operators_the_graph_for_other_programs_is_left_out(
    shared: SharedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("exporter.pipeline.recipes.LowerOpsetPass", lambda: LowerOpsetPass(7))
    graphs, portable = write_graphs(tmp_path, shared, (MEAN,), (DType.FP32,), (), Console(quiet=True), portable=MEAN)
    assert portable is None and [graph.weights for graph in graphs] == ["onnx/weights_fp32.bin"]
    assert "onnx/model.onnx is left out, and the vectors of tokens with it: opset 7 has no" in capsys.readouterr().err
