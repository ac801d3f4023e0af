"""A pass that was tried and left out: query, key and value as one matrix product. `bench.passes` times it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx_ir as ir

from graphs.encoder.cleanup import cleanup
from graphs.ir.constants import array_of, constant


def merge_qkv(model: ir.Model) -> int:
    """Merge three products of one input and equal size, with their biases, in place; returns how many were made."""
    graph = model.graph
    products: dict[ir.Value | None, list[ir.Node]] = defaultdict(list)
    for node in graph:
        if node.op_type == "MatMul" and array_of(node.inputs[1]) is not None:
            products[node.inputs[0]].append(node)
    merged = 0
    for source, nodes in products.items():
        biased = [_bias_add(node) for node in nodes]
        if len(nodes) != 3 or any(add is None for add in biased):
            continue
        weights = np.concatenate([array_of(node.inputs[1]) for node in nodes], axis=1)
        biases = np.concatenate([_bias(add) for add in biased])
        name = f"qkv.{merged}"
        inputs = [constant(graph, f"{name}.{part}", array) for part, array in (("w", weights), ("b", biases))]
        product = ir.node("MatMul", [source, inputs[0]])
        added = ir.node("Add", [product.outputs[0], inputs[1]])
        parts = ir.node("Split", [added.outputs[0]], {"axis": -1, "num_outputs": 3}, num_outputs=3)
        for index, value in enumerate((product.outputs[0], added.outputs[0], *parts.outputs)):
            value.name = f"{name}.{index}"
        graph.extend([product, added, parts])
        for add, part in zip(biased, parts.outputs, strict=True):
            add.outputs[0].replace_all_uses_with(part)
        merged += 1
    graph.sort()
    cleanup(model)
    return merged


def _bias_add(product: ir.Node) -> ir.Node | None:
    readers = list(product.outputs[0].consumers())
    return readers[0] if len(readers) == 1 and readers[0].op_type == "Add" and _bias(readers[0]) is not None else None


def _bias(add: ir.Node | None) -> np.ndarray | None:
    return None if add is None else next((a for v in add.inputs if (a := array_of(v)) is not None), None)
