import numpy as np
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.files.summary import TensorInfo, summarise
from graphs.precision.float16 import ConvertToFloat16Pass
from tests.graphs.build import FLOAT, GraphBuilder, to_bytes


def test_an_exported_encoder_in_numbers(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    before = to_bytes(model)
    summary = summarise(model)
    assert to_bytes(model) == before
    assert (summary.opset, summary.nodes) == (23, len(model.graph))
    assert sum(summary.ops.values()) == summary.nodes
    assert (summary.ops["MatMul"], summary.ops["LayerNormalization"]) == (12, 5)
    assert list(summary.ops.values()) == sorted(summary.ops.values(), reverse=True)
    assert (summary.attention_layers, summary.attention_ops) == (2, 2)
    assert summary.inputs == tuple(TensorInfo(n, "INT64", ("batch", "seq")) for n in ("input_ids", "attention_mask"))
    assert summary.outputs == (TensorInfo("last_hidden_state", "FLOAT", ("batch", "seq", 32)),)
    sizes = [v.const_value.nbytes for v in model.graph.initializers.values() if v.dtype == FLOAT]
    assert summary.initializer_bytes["FLOAT"] == sum(sizes)
    assert summary.node_output_dtypes["FLOAT"] > 30
    assert "FLOAT16" not in summary.node_output_dtypes
    ConvertToFloat16Pass({}, {})(model)
    half = summarise(model)
    assert half.initializer_bytes["FLOAT16"] == sum(sizes) // 2
    assert "FLOAT" not in half.initializer_bytes
    assert half.node_output_dtypes["FLOAT"] == 1


def decomposed(mask):
    build = GraphBuilder()
    q, k, v = (build.input(name, FLOAT, "batch", 2, "seq", 8) for name in "qkv")
    scores = build.op("MatMul", q, build.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = build.op("Div", scores, build.constant("scale", 2))
    if mask:
        scores = build.op("Add", scores, build.input("mask", FLOAT, "batch", 1, 1, "seq"))
    weights = build.op("Softmax", scores, axis=-1)
    if mask:
        weights = build.op("Where", build.op("IsNaN", weights), build.constant("zero", 0), weights)
    return build.model(build.op("MatMul", weights, v))


@pytest.mark.parametrize("mask", [False, True])
def test_attention_in_single_steps_counts_as_a_layer(mask):
    summary = summarise(decomposed(mask))
    assert (summary.attention_layers, summary.attention_ops) == (1, 0)


def test_a_softmax_that_is_no_attention_does_not_count():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    w = build.constant("w", np.eye(4))
    classifier = build.op("Softmax", build.op("MatMul", x, w))
    gate = build.op("MatMul", build.op("Softmax", x), w)
    far = build.op("Softmax", build.op("Gelu", build.op("MatMul", x, w)))
    assert summarise(build.model(classifier, gate, build.op("MatMul", far, w))).attention_layers == 0


def test_another_domain_is_said():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    summary = summarise(build.model(build.op("Gelu", x, domain="com.microsoft")))
    assert dict(summary.ops) == {"com.microsoft::Gelu": 1}
    assert summary.node_output_dtypes == {"FLOAT": 1}
