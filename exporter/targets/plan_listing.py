"""What a serialised TensorRT-RTX engine lists of itself, on a machine without a GPU: kernel calls, tensors, precisions.

An engine lists, as text inside its bytes, every kernel call with the ONNX nodes that it computes. That list is not a
documented format, but it is the only account of the outcome where no GPU can load the engine, and a better one than the
log: the log calls fp32 attention recognised although no fused kernel exists for it, and is silent on some forms that
do end up in one (seen with TensorRT-RTX 1.7.1).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from exporter.targets.attention_layers import Attention, node_of

_CALL = re.compile(rb'function=\{ name=(\S*)[^\n]*? layers="([^"]*)"')
_COMPUTES = re.compile(
    rb'(?:function|fully_connected|copy)=\{ name=[^\n]*? output(?:_args)?=\{ ?"([^"]*)"[^\n]*? layers="\[ONNX[^"]*"'
)
_TENSOR = re.compile(rb'tensor=\{[^\n]*? name="([^"]*)"[^\n]*? type=(\w+) \}')
_FUSED = "_mha"
_BETWEEN_LAYERS = "\x1f"


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
        node_of(layer) for kernel, layers in calls if _FUSED in kernel for layer in layers.split(_BETWEEN_LAYERS)
    )
    return tuple(layer for layer in attention if fused[layer.node] < profiles)


def precisions(engine: memoryview) -> dict[str, int] | None:
    """Kernel calls by the precision of the first tensor that they give, over all profiles, in the engine's own words.

    Calls that compute shapes have no ONNX node and do not count. None where the engine lists none in a known form.
    """
    types = {bytes(m[1]): bytes(m[2]).decode() for m in _TENSOR.finditer(engine)}
    counts = Counter(types.get(bytes(m[1]), "unknown") for m in _COMPUTES.finditer(engine))
    return dict(sorted(counts.items())) or None
