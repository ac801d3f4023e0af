"""A foreign graph becomes a clean encoder: the same vectors, every shape known, and what cannot be taken is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from exporter.model.adopt import import_encoder
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.model.onnx_file import GraphReference
from exporter.spec.model import ModelSpec
from exporter.spec.reference import EncoderGraph
from graphs.encoder.raise_opset import RaiseOpsetPass
from graphs.files.weights import save_graphs
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode
from poolfold.errors import CheckpointError
from tests.exporter.model.reading import TEXTS, tokenise
from tests.foreign import INT32, foreign_folder, torchscript_encoder
from tests.graphs.build import FLOAT, INT64, run
from tests.models import HIDDEN

TWO = ("input_ids", "attention_mask")
FOUR = (*TWO, "token_type_ids", "position_ids")
EVERY = tuple(PoolingMode)


def read(path: Path) -> ModelSpec:
    return read_spec(resolve_source(str(path)))


def imported(path: Path) -> tuple[ModelSpec, EncoderGraph]:
    spec = read(path)
    assert spec.source.graph is not None
    return spec, import_encoder(spec.source.graph, spec)


def reference(spec: ModelSpec) -> GraphReference:
    assert spec.source.graph is not None
    return GraphReference(spec.source.graph.path, spec.source.graph.encoder.hidden, (), width=spec.hidden_size)


@pytest.mark.parametrize(
    ("opset", "dtype", "inputs"),
    [(11, INT64, TWO), (13, INT32, FOUR), (14, INT64, FOUR[:3]), (17, INT32, FOUR[:3]), (18, INT64, FOUR)],
)
def test_every_pooling_of_it_gives_what_the_file_gives(opset, dtype, inputs, tmp_path):
    outputs = ("token_embeddings", "sentence_embedding")
    model = torchscript_encoder(opset=opset, dtype=dtype, inputs=inputs, outputs=outputs)
    spec, encoder = imported(foreign_folder(tmp_path / "m", model, external=opset in (13, 18)))
    assert f"opset {opset} -> 23" in encoder.done
    assert encoder.warning is None
    assert encoder.model.opset_imports == {"": 23}
    FoldPoolingPass(EVERY)(encoder.model)
    save_graphs({tmp_path / "encoder.onnx": encoder.model}, tmp_path / "encoder.bin")
    for side in ("left", "right"):
        ids, mask = tokenise(spec, TEXTS)
        ids, mask = (ids[:, ::-1], mask[:, ::-1]) if side == "left" else (ids, mask)
        expected = reference(spec).embed(ids, mask, [EVERY])[EVERY]
        feeds = {"input_ids": np.ascontiguousarray(ids), "attention_mask": np.ascontiguousarray(mask)}
        got = run(str(tmp_path / "encoder.onnx"), feeds)
        np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-5)


def test_every_dimension_is_known(tmp_path):
    _, encoder = imported(foreign_folder(tmp_path / "m", torchscript_encoder(opset=11, inputs=FOUR)))
    shapes = {str(value.shape) for node in encoder.model.graph for value in node.outputs}
    assert not any("unk" in shape or "None" in shape or "?" in shape for shape in shapes)
    assert {f"[batch,seq,{HIDDEN}]", "[batch,2,seq,seq]", "[batch,seq,2,16]", "[batch,2,16,seq]"} <= shapes
    assert all(value.dtype is not None for node in encoder.model.graph for value in node.outputs)


def test_the_limit_and_the_vocabulary_are_those_of_the_graphs_tables(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(), max_seq_length=None)
    spec = read(path)
    assert (spec.vocab_size, spec.text.max_seq_length) == (300, 64)
    model = torchscript_encoder()
    for name in ("word", "position"):
        value = model.graph.initializers.pop(f"embeddings.{name}_embeddings.weight")
        value.name = f"onnx::Gather_{name}"
        model.graph.register_initializer(value)
    spec = read(foreign_folder(tmp_path / "n", model))
    assert (spec.vocab_size, spec.text.max_seq_length) == (221, 64), "without names, those of config.json"


def test_operators_of_onnx_runtime_stay_and_have_a_dtype(tmp_path):
    model = torchscript_encoder(opset=18)
    model.opset_imports["com.microsoft"] = 1
    erf = next(node for node in model.graph if node.op_type == "Erf")
    end = erf.outputs[0].consumers()[0].outputs[0].consumers()[0].outputs[0].consumers()[0].outputs[0]
    gelu = ir.node("Gelu", [erf.inputs[0].producer().inputs[0]], domain="com.microsoft", name="fused")
    model.graph.insert_before(erf, gelu)
    end.replace_all_uses_with(gelu.outputs[0])
    spec, encoder = imported(foreign_folder(tmp_path / "m", model))
    assert encoder.warning is None
    (node,) = [node for node in encoder.model.graph if node.domain]
    assert (node.outputs[0].dtype, str(node.outputs[0].shape)) == (FLOAT, f"[batch,seq,{2 * HIDDEN}]")
    ids, mask = tokenise(spec, TEXTS)
    mean = (PoolingMode.MEAN,)
    FoldPoolingPass(mean)(encoder.model)
    got = run(encoder.model, {"input_ids": ids, "attention_mask": mask})[0]
    np.testing.assert_allclose(got, reference(spec).embed(ids, mask, [mean])[mean], rtol=1e-4, atol=1e-5)


def test_shapes_that_are_lost_are_told_and_cost_no_vector(tmp_path):
    """ONNX Runtime's inference takes ONNX's Attention for its own operator of that name, and gives up."""
    model = torchscript_encoder(opset=18)
    RaiseOpsetPass()(model)
    for softmax in [node for node in model.graph if node.op_type == "Softmax"]:
        masked = softmax.inputs[0].producer()
        product = masked.inputs[0].producer().inputs[0].producer()
        context = softmax.outputs[0].consumers()[0]
        inputs = product.inputs[0], product.inputs[0], context.inputs[1], masked.outputs[0]
        attention = ir.node("Attention", inputs, name=f"{softmax.name}.attention")
        attention.outputs[0].name = f"{softmax.name}.context"
        model.graph.insert_before(context, attention)
        context.outputs[0].replace_all_uses_with(attention.outputs[0])
    spec, encoder = imported(foreign_folder(tmp_path / "m", model))
    assert re.fullmatch(r"the shapes of \d+ tensors are not known \(.+\)\.", encoder.warning)
    assert [node.op_type for node in encoder.model.graph].count("Attention") == 2
    FoldPoolingPass(EVERY)(encoder.model)
    ids, mask = tokenise(spec, TEXTS)
    got = run(encoder.model, {"input_ids": ids, "attention_mask": mask})[0]
    np.testing.assert_allclose(got, reference(spec).embed(ids, mask, [EVERY])[EVERY], rtol=1e-4, atol=1e-5)


def test_an_operator_that_nobody_knows_is_named(tmp_path):
    model = torchscript_encoder(opset=18)
    model.opset_imports["com.example"] = 1
    softmax = next(node for node in model.graph if node.op_type == "Softmax")
    riddle = ir.node("Riddle", [softmax.inputs[0]], domain="com.example", name="riddle")
    model.graph.insert_before(softmax, riddle)
    softmax.replace_input_with(0, riddle.outputs[0])
    with pytest.raises(CheckpointError, match=r"cannot become an encoder: .* no dtype.*Shapes were not inferred"):
        imported(foreign_folder(tmp_path / "m", model))


@pytest.mark.parametrize("architecture", ["roberta", "xlm-roberta", "mpnet"])
def test_positions_that_count_by_padding_are_never_folded(architecture, tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(inputs=FOUR), architecture=architecture)
    with pytest.raises(CheckpointError, match=rf"input position_ids, and a {architecture} counts positions by its pad"):
        imported(path)
    path = foreign_folder(tmp_path / "n", torchscript_encoder(inputs=FOUR[:3]), architecture=architecture)
    imported(path)  # the control: without the input, the graph's own positions count


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embeddings.word_embeddings.weight", np.nan),
        ("embeddings.word_embeddings.weight", np.inf),
        ("onnx::MatMul_encoder.layer.1.intermediate", -np.inf),
        ("encoder.layer.0.norm.bias", np.nan),
    ],
)
def test_weights_that_are_no_numbers_are_named(name, value, tmp_path):
    model = torchscript_encoder()
    table = model.graph.initializers[name]
    array = table.const_value.numpy().copy()
    array[-1] = value
    table.const_value = ir.tensor(array, name=name)
    bad = array[-1].size
    with pytest.raises(CheckpointError, match=rf"tensor '{name}' has {bad} of \d+ values that are NaN or infinite"):
        imported(foreign_folder(tmp_path / "m", model))


def test_an_infinite_mask_is_no_damage(tmp_path):
    imported(foreign_folder(tmp_path / "m", torchscript_encoder(lowest=-np.inf)))
