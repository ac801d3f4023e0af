"""Recipes: which passes make a strategy's graph of a dtype, in which order, and why.

The only place where order is decided. The encoder comes in clean and once; clones share its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from exporter.spec import DType
from graphs.cleanup import cleanup
from graphs.float16 import ConvertToFloat16Pass, KeptNode
from graphs.fold_head import FoldHeadPass
from graphs.fold_pooling import FoldPoolingPass
from graphs.head import Head
from graphs.strategy import Strategy


@dataclass
class Kitchen:
    """What the graphs of one export share: the encoder, the head, and fp16 weights once they are converted.

    encoder: clean fp32 graph ending in last_hidden_state.
    measured: the largest magnitude of each tensor on real text; empty where fp16 was not asked for.
    """

    encoder: ir.Model
    head: Head
    measured: Mapping[str, float] = field(default_factory=dict)
    converted: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TypedGraph:
    """A graph ready to save, and the nodes that stayed fp32 in it."""

    model: ir.Model
    kept: tuple[KeptNode, ...]


def build_graph(kitchen: Kitchen, strategy: Strategy, dtype: DType) -> TypedGraph:
    """One strategy in one precision."""
    graph = kitchen.encoder.clone()
    FoldPoolingPass(strategy)(graph)
    # The head reads sentence_embedding, which the pooling makes.
    FoldHeadPass(kitchen.head)(graph)
    # Every value needs its dtype before precision is decided; pooling and head are new.
    cleanup(graph)
    if dtype is DType.FP32:
        return TypedGraph(graph, ())
    if dtype is not DType.FP16:
        raise ValueError(f"{dtype} is no precision of a graph; expected {dtype.of_graph}, which it executes")
    # Last: it decides by what each node is and reads, so nothing may change behind it.
    convert = ConvertToFloat16Pass(kitchen.measured, kitchen.converted)
    convert(graph)
    return TypedGraph(graph, tuple(convert.kept))
