"""What a run of a graph takes in memory: the record by which loaders cut batches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx_ir as ir

from exporter.pipeline.recipes import SLICE, WHOLE_UP_TO
from exporter.spec.model import ModelSpec
from poolfold.manifest import Graph, RunMemory

_BYTES = 4
"""Of a value: ONNX Runtime computes in fp32 on a CPU, an fp16 graph too."""
_HIDDEN, _WIDEST = 10, 4
"""Arrays of hidden values and of the widest product that are there at once, with what an allocator's blocks lose.
Measured: 57 KiB a token of e5-base and 52 of EmbeddingGemma, for which this gives 78 and 48."""
_DECOMPOSED = 3
"""Scores, masked scores and probabilities, where attention is several operators; one array where it is one."""
_MASK_BYTES = 8
"""A mask, the conditions that it is made of, and a copy."""


def run_memory(spec: ModelSpec, encoder: ir.Model, graph: Graph) -> RunMemory:
    """What a run of one of the model's graphs takes.

    Args:
        spec: heads and hidden size.
        encoder: the graph before pooling and head; widths and masks are read in it.
        graph: one of the graphs made of it; how many of its attention layers are one operator.
    """
    whole = graph.attention_ops == graph.attention_layers
    return RunMemory(
        token_bytes=_BYTES * (_HIDDEN * spec.hidden_size + _WIDEST * max(_widths(encoder), default=spec.hidden_size)),
        score_bytes=_BYTES * spec.heads * (1 if whole else _DECOMPOSED),
        mask_bytes=_MASK_BYTES * len(set(_pair_masks(encoder))),
        whole_up_to=WHOLE_UP_TO if graph.sliced and whole else 0,
        slice=SLICE if graph.sliced and whole else 0,
    )


def _widths(encoder: ir.Model) -> Iterator[int]:
    """Values of a token that each product with a weight gives; of all experts together."""
    for node in ir.traversal.RecursiveGraphIterator(encoder.graph):
        if node.op_type not in ("MatMul", "Gemm") or (weight := node.inputs[1]) is None or weight.const_value is None:
            continue
        shape = weight.const_value.shape.numpy()
        across = node.op_type == "Gemm" and node.attributes.get_int("transB", False)
        if len(shape) > 1:
            yield math.prod(shape) // shape[-1 if across else -2]


def _pair_masks(encoder: ir.Model) -> Iterator[ir.Value]:
    """Masks of attention that have a value for each query and key."""
    for node in ir.traversal.RecursiveGraphIterator(encoder.graph):
        mask = node.inputs[3] if node.op_type == "Attention" and len(node.inputs) > 3 else None
        if mask is not None and (mask.shape is None or len(mask.shape) < 2 or mask.shape[-2] != 1):
            yield mask
