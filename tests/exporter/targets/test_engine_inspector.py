"""TensorRT's inspector, in the formats that its documentation shows for 10.x and 11.x."""

from __future__ import annotations

import pytest

from exporter.targets.attention_layers import Attention
from exporter.targets.engine_inspector import read_layers

FIRST, SECOND = Attention("node_a0", "HALF", 64), Attention("node_a1", "HALF", 64)


def layers(half: dict[str, str], single: dict[str, str]) -> list[dict[str, object]]:
    return [
        {"Name": "__myl_Fc", "LayerType": "gemm", "Outputs": [half], "Metadata": "[ONNX Layer: node_q]"},
        {
            "Name": "_gemm_mha_v2_myl0_1", "LayerType": "kgen", "Outputs": [half],
            "Metadata": "[ONNX Layer: node_a0]\x1f[ONNX Layer: node_v]",
        },
        {"Name": "soft", "LayerType": "kgen", "Outputs": [half], "Metadata": "[ONNX Layer: node_a1]"},
        {"Name": "pool", "LayerType": "kgen", "Outputs": [single], "Metadata": "[ONNX Layer: node_pool]"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("half", "single"),
    [
        ({"Format/Datatype": "Half"}, {"Format/Datatype": "Float"}),
        ({"Format/Datatype": "Row major linear FP16 format"}, {"Format/Datatype": "Row major linear FP32"}),
        ({"Format": "Row major linear", "DataType": "Half"}, {"Format": "Row major linear", "DataType": "Float"}),
    ],
)
def test_layers_are_counted_by_precision_and_attention_by_its_kernel(half, single):
    seen = read_layers(layers(half, single), (FIRST, SECOND), (10, 20))
    assert (seen.layers, seen.precisions) == (4, {"float": 1, "half": 3})
    assert seen.unfused == (SECOND,)
    assert seen.device_memory == (10, 20)


def test_a_node_that_is_called_mha_is_not_taken_for_a_kernel():
    node = "/encoder/mha/Softmax"
    layer = {"Name": f"{node}_myl0_7", "LayerType": "kgen", "Outputs": [], "Metadata": f"[ONNX Layer: {node}]"}
    attention = Attention(node, "HALF", 64)
    assert read_layers([layer], (attention,), ()).unfused == (attention,)
    assert read_layers([{**layer, "TacticName": "fmha_v2_64"}], (attention,), ()).unfused == ()


def test_an_engine_of_bare_names_proves_nothing():
    seen = read_layers(["a", "b"], (FIRST,), ())
    assert (seen.layers, seen.precisions, seen.unfused) == (2, {}, (FIRST,))
