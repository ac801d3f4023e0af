"""Linear layers, and which of them must be scaled alike; what their channels show on texts."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.quantization.channel_ranges import ProbeChannelsPass
from graphs.quantization.linears import groups
from tests.graphs.build import FLOAT, GraphBuilder, run

A, B, C = (np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32) for seed in range(3))


def model() -> ir.Model:
    """x -> a, b; relu(a) -> c -> c again, as a model does whose layers share their weights; b -> a table of 3-d."""
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    c = build.constant("c", C)
    a, b = build.op("MatMul", x, build.constant("a", A)), build.op("MatMul", x, build.constant("b", B))
    once = build.op("MatMul", build.op("Relu", a), c)
    twice = build.op("MatMul", once, c)
    product = build.op("MatMul", a, b)  # of two tensors: no linear layer
    made = build.model(twice, product)
    for node in made.graph:
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(FLOAT), ir.Shape(["batch", 4])
    return made


def test_layers_that_share_an_input_or_a_weight_are_one_group() -> None:
    found = groups(model().graph)
    assert [group.weights for group in found] == [("a", "b"), ("c",)]
    assert [len(group.nodes) for group in found] == [2, 2]
    assert [len(group.inputs) for group in found] == [1, 2]
    assert [group.role for group in found] == [((4, 4), (4, 4)), ((4, 4),)]
    assert [group.size for group in found] == [32, 16]


def test_the_extremes_of_each_channel_over_all_inputs_of_a_group() -> None:
    probed = model()
    probe = ProbeChannelsPass()
    probe(probed)
    x = np.random.default_rng(9).normal(size=(4, 4)).astype(np.float32)
    found = run(probed, {"x": x})[2:]
    assert list(probe.channels.values()) == [("a", "b"), ("c",)]
    relu = np.maximum(x @ A, 0)
    for got, values in zip(found, (x, np.concatenate([relu, relu @ C])), strict=True):
        np.testing.assert_allclose(got, np.stack([values.max(axis=0), values.min(axis=0)]), rtol=1e-4, atol=1e-6)
