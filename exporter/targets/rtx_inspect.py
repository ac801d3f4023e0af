"""What a TensorRT-RTX network and engine hold: attention layers, the fused kernels that compute them, precisions.

An engine lists, as text inside its bytes, every kernel call with the ONNX nodes that it computes. That list is not a
documented format, but it is the only account of the outcome on a machine without a GPU, and a better one than the
log: the log calls fp32 attention recognised although no fused kernel exists for it, and is silent on some forms that
do end up in one (seen with TensorRT-RTX 1.7.1).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CALL = re.compile(rb'function=\{ name=(\S*)[^\n]*? layers="([^"]*)"')
_HALF = re.compile(rb" type=half\b")
_FUSED = "_mha"
_BETWEEN_LAYERS = "\x1f"
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


def attention_layers(trt: Any, network: Any) -> tuple[Attention, ...]:
    """The attention layers of a parsed network: every `Attention`, and every softmax, which nothing else here uses."""
    found: list[Attention] = []
    dtype, head_size = "", None
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            # An `Attention` is two layers, the first with the queries and the second with the node's name.
            dtype, head_size = layer.get_input(0).dtype.name, layer.get_input(0).shape[-1]
        elif layer.type == trt.LayerType.ATTENTION_OUTPUT:
            found.append(Attention(_node(layer.metadata), dtype, head_size))
        elif layer.type == trt.LayerType.SOFTMAX:
            found.append(Attention(_node(layer.metadata), layer.get_output(0).dtype.name, None))
    return tuple(found)


def unfused(engine: memoryview, attention: Sequence[Attention], profiles: int) -> tuple[Attention, ...] | None:
    """The attention layers that lack a fused kernel in one of the profiles at least.

    Args:
        engine: a serialised engine.
        attention: the layers of the network that it was built from.
        profiles: how many optimisation profiles it was built for; an engine lists its calls once for each.

    Returns:
        Those layers; None where the engine lists no kernel call, so that nothing can be told.
    """
    calls = [(bytes(m[1]).decode(), bytes(m[2]).decode(errors="replace")) for m in _CALL.finditer(engine)]
    if not calls:
        return None
    fused = Counter(
        _node(layer) for kernel, layers in calls if _FUSED in kernel for layer in layers.split(_BETWEEN_LAYERS)
    )
    return tuple(layer for layer in attention if fused[layer.node] < profiles)


def holds_half(engine: memoryview) -> bool:
    """Whether any tensor of the engine is half precision."""
    return _HALF.search(engine) is not None


def _node(metadata: str) -> str:
    """The ONNX node named in a layer's metadata, "[ONNX Layer: name]"."""
    return metadata.removeprefix(_ONNX_NODE).removesuffix("]")
