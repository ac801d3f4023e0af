"""The attention layers of a parsed network: what may become one fused kernel each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporter.targets.trt_library import Library

_ONNX_NODE = "[ONNX Layer: "


@dataclass(frozen=True)
class Attention:
    """An attention layer of a network: an ONNX `Attention`, or a softmax between two matrix products.

    node: the ONNX node's name.
    dtype: of the queries, or of the softmax, in the library's words: "FLOAT", "HALF".
    head_size: values of one head; None where only a softmax tells of the layer.
    """

    node: str
    dtype: str
    head_size: int | None


def attention_layers(library: Library, network: Any) -> tuple[Attention, ...]:
    """The attention layers of a parsed network: every `Attention`, and every softmax, which nothing else here uses."""
    trt = library.trt
    # Releases before 10.14 have no such layer: there every attention is in pieces.
    inputs = getattr(trt.LayerType, "ATTENTION_INPUT", None)
    outputs = getattr(trt.LayerType, "ATTENTION_OUTPUT", None)
    layers: list[Attention] = []
    dtype, head_size = "", None
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == inputs:
            # An `Attention` is two layers, the first with the queries and the second with the node's name.
            dtype, head_size = layer.get_input(0).dtype.name, layer.get_input(0).shape[-1]
        elif layer.type == outputs:
            layers.append(Attention(node_of(layer.metadata), dtype, head_size))
        elif layer.type == trt.LayerType.SOFTMAX:
            layers.append(Attention(node_of(layer.metadata), layer.get_output(0).dtype.name, None))
    return tuple(layers)


def node_of(metadata: str) -> str:
    """The ONNX node named in a layer's metadata, "[ONNX Layer: name]"."""
    return metadata.removeprefix(_ONNX_NODE).removesuffix("]")
