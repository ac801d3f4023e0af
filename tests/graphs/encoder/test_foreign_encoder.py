"""What may become an encoder, and what is refused with which reason."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.foreign_encoder import ForeignEncoder, find_encoder
from tests.foreign import INT32, torchscript_encoder
from tests.graphs.build import FLOAT, FLOAT16, INT64, GraphBuilder
from tests.models import HIDDEN

TWO = ("input_ids", "attention_mask")
THREE = (*TWO, "token_type_ids")


@pytest.mark.parametrize(
    ("inputs", "outputs", "hidden", "folded"),
    [
        (TWO, ("last_hidden_state",), "last_hidden_state", ()),
        (("attention_mask", "input_ids"), ("token_embeddings", "sentence_embedding"), "token_embeddings", ()),
        (THREE, ("sentence_embedding", "last_hidden_state"), "last_hidden_state", ("token_type_ids",)),
        ((*TWO, "position_ids"), ("other", "last_hidden_state"), "last_hidden_state", ("position_ids",)),
        (TWO, ("layer_norm_4", "sentence_embedding"), "layer_norm_4", ()),
    ],
)
def test_the_token_vectors_are_found_by_name_or_as_the_only_ones(inputs, outputs, hidden, folded):
    model = torchscript_encoder(inputs=inputs, outputs=outputs, layers=1)
    assert find_encoder(model) == ForeignEncoder(hidden, HIDDEN, folded)


def test_a_width_that_is_not_said_is_not_made_up():
    assert find_encoder(torchscript_encoder(layers=1, width="Addlast_hidden_state_dim_2")).width is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": (*TWO, "pixel_values", "labels")}, r"inputs pixel_values, labels; expected input_ids, attention_"),
        ({"inputs": ("input_ids",), "masked": False}, r"has no input attention_mask; expected"),
        ({"dims": (1, "seq")}, r"input_ids has the fixed shape \[1,seq\].*Export it with dynamic batch and sequence"),
        ({"dims": ("batch", 128)}, r"input_ids has the fixed shape \[batch,128\]"),
        ({"outputs": ("sentence_embedding",)}, r"gives sentence_embedding \[batch_size,32\]: no vectors of tokens"),
        ({"outputs": ("layer_1", "layer_2")}, r"gives layer_1 .*, layer_2 .*: several outputs that could be"),
        ({"masked": False}, r"last_hidden_state do not depend on attention_mask, so padded batches"),
        ({"masked": False, "outputs": ("token_embeddings", "sentence_embedding")}, r"do not depend on attention_mask"),
    ],
)
def test_another_interface_is_refused(options, said):
    with pytest.raises(ir.passes.PreconditionError, match=said):
        find_encoder(torchscript_encoder(layers=1, **options))


@pytest.mark.parametrize("dtype", [INT64, INT32])
def test_integers_of_both_sizes_are_taken(dtype):
    assert find_encoder(torchscript_encoder(layers=1, dtype=dtype))


def test_inputs_of_other_types_and_ranks_are_refused():
    model = torchscript_encoder(layers=1)
    model.graph.inputs[0].type = ir.TensorType(FLOAT)
    with pytest.raises(ir.passes.PreconditionError, match="input_ids is FLOAT; expected INT64 or INT32"):
        find_encoder(model)
    model = torchscript_encoder(layers=1)
    model.graph.inputs[1].shape = ir.Shape(["batch", 1, "seq", "seq"])
    with pytest.raises(ir.passes.PreconditionError, match=r"attention_mask is \[batch,1,seq,seq\]; expected \[b"):
        find_encoder(model)


def half_weight(model):
    table = model.graph.initializers["embeddings.word_embeddings.weight"]
    table.const_value = ir.tensor(table.const_value.numpy().astype(np.float16), name=table.name)
    table.type = ir.TensorType(FLOAT16)


def half_inside(model):
    next(node for node in model.graph if node.op_type == "Cast").attributes["to"] = ir.AttrInt64("to", 10)


def half_output(model):
    model.graph.outputs[0].type = ir.TensorType(FLOAT16)


@pytest.mark.parametrize("change", [half_weight, half_inside, half_output])
def test_half_precision_is_refused(change):
    model = torchscript_encoder(layers=1)
    change(model)
    with pytest.raises(ir.passes.PreconditionError, match=r"graph in FLOAT16; expected fp32.*--dtype fp16 makes"):
        find_encoder(model)


@pytest.mark.parametrize(
    ("op_type", "domain"),
    [("DynamicQuantizeLinear", ""), ("MatMulInteger", ""), ("DequantizeLinear", ""), ("MatMulNBits", "com.microsoft")],
)
def test_quantised_graphs_are_refused(op_type, domain):
    model = torchscript_encoder(layers=1)
    node = next(node for node in model.graph if node.op_type == "MatMul")
    model.graph.insert_before(node, ir.node(op_type, [node.inputs[0]], domain=domain))
    with pytest.raises(ir.passes.PreconditionError, match=rf"quantised \({op_type}\); expected fp32"):
        find_encoder(model)


def test_a_mask_that_only_a_subgraph_reads_is_read():
    build = GraphBuilder()
    ids, mask = build.input("input_ids", INT64, "batch", "seq"), build.input("attention_mask", INT64, "batch", "seq")
    table = build.constant("table", np.ones((9, 4)))
    hidden = build.op("Gather", table, ids)
    branches = {}
    for name in ("then_branch", "else_branch"):
        kept = ir.node("Mul", [hidden, ir.node("Cast", [mask], {"to": 1}).outputs[0]])
        inner = ir.Graph([], [kept.outputs[0]], nodes=[kept.inputs[1].producer(), kept], name=name)
        branches[name] = inner
    chosen = build.op("If", build.constant("yes", True, bool), name="last_hidden_state", **branches)
    chosen.shape = ir.Shape(["batch", "seq", 4])
    assert find_encoder(build.model(chosen)).hidden == "last_hidden_state"
