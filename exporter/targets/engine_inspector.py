"""What TensorRT's own inspector says of an engine that this machine's GPU has loaded. Not run: written from its format.

The JSON changed with TensorRT 11: a tensor's precision moved from "Format/Datatype" to a field of its own; both are
read. A fused attention kernel carries `mha` in its name, type or tactic.

Source: TensorRT documentation, "IEngineInspector", and its 10.x to 11.x migration guide.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exporter.targets.attention_layers import Attention, node_of
from exporter.targets.trt_library import Library

_BETWEEN_NODES = "\x1f"
_PRECISIONS = {"float": "FP32", "half": "FP16", "bfloat16": "BF16", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}


@dataclass(frozen=True)
class Inspection:
    """An engine's layers.

    precisions: layers by the precision of their first output, in lower case as the plan listing has them.
    unfused: attention layers for which no layer with a fused kernel was found.
    """

    layers: int
    precisions: dict[str, int]
    unfused: tuple[Attention, ...]
    device_memory: tuple[int, ...]


def inspect_engine(
    library: Library, runtime: Any, content: memoryview, attention: Sequence[Attention]
) -> Inspection | None:
    """Load an engine and ask the inspector; None where this machine cannot load it."""
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        return None
    inspector = engine.create_engine_inspector()
    text = json.loads(inspector.get_engine_information(library.trt.LayerInformationFormat.JSON))
    profiles = range(engine.num_optimization_profiles)
    memory = tuple(int(engine.get_device_memory_size_for_profile_v2(index)) for index in profiles)
    return read_layers(text.get("Layers", []), attention, memory)


def read_layers(layers: Sequence[Any], attention: Sequence[Attention], memory: tuple[int, ...]) -> Inspection:
    """The inspector's list of layers, each an object where the engine was built with detailed profiling verbosity."""
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    fused = " ".join(str(layer.get("Metadata", "")) for layer in detailed if _is_fused(layer))
    counts = Counter(_precision(layer) for layer in detailed)
    return Inspection(
        layers=len(layers),
        precisions=dict(sorted(counts.items())),
        unfused=tuple(layer for layer in attention if f"[ONNX Layer: {layer.node}]" not in fused),
        device_memory=memory,
    )


def _is_fused(layer: dict[str, Any]) -> bool:
    """Whether a layer's kernel is one of fused attention; an ONNX node may carry `mha` in its own name."""
    name = str(layer.get("Name", ""))
    for node in str(layer.get("Metadata", "")).split(_BETWEEN_NODES):
        name = name.replace(node_of(node), "")
    return any("mha" in text.lower() for text in (name, str(layer.get("LayerType")), str(layer.get("TacticName"))))


def _precision(layer: dict[str, Any]) -> str:
    outputs = layer.get("Outputs") or [{}]
    text = str(outputs[0].get("DataType") or outputs[0].get("Datatype") or outputs[0].get("Format/Datatype") or "")
    for name, short in _PRECISIONS.items():
        if short.lower() in text.lower() or name == text.lower():
            return name
    return text.lower() or "unknown"
