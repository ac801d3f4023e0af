"""Replace a Gather whose indices are all equal by the one row that it gathers.

Token types are such a case: an encoder called without token_type_ids gathers row 0 for every token. Independent of what
the table holds.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.constants import array_of, constant
from graphs.ir.dims import aligned, dims_of
from graphs.ir.movement import moved_inputs
from graphs.ir.row_rules import ELEMENTWISE, axis_of

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)


class UniformLookupsPass(ir.passes.InPlacePass):
    """Replace a Gather with equal indices by a constant row that broadcasts.

    Before: Expand(0) -> Gather(token types) [batch, seq, hidden] -> Add(words)
    After:  Add(words, row [hidden])

    Requires: shapes inferred (`cleanup`).
    Ensures: changes a Gather only where every reader is elementwise and another input gives the reader its shape.
    Numerics: exact.
    Source: this project.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Propagate the number of each uniform constant through the graph."""
        graph = model.graph
        uniform: dict[ir.Value, int] = {}
        for value in graph.initializers.values():
            number = _one_number(value)
            if number is not None:
                uniform[value] = number
        modified = False
        for node in list(graph):
            first = node.inputs[0] if node.inputs else None
            numbers = {uniform.get(value) for value in moved_inputs(node)}
            if len(numbers) == 1 and (number := numbers.pop()) is not None:
                uniform.update(dict.fromkeys(node.outputs, number))
            elif node.op_type == "Cast" and first in uniform and node.outputs[0].dtype in _INTEGERS:
                uniform[node.outputs[0]] = uniform[first]
            elif node.op_type == "Gather" and not node.domain and node.inputs[1] in uniform:
                modified |= _use_row(graph, node, uniform[node.inputs[1]])
        return ir.passes.PassResult(model, modified=modified)


def _one_number(value: ir.Value) -> int | None:
    """The integer that fills a constant; None where it holds several, or is not a constant of integers."""
    if value.dtype not in _INTEGERS:
        return None
    array = array_of(value)
    return int(array.flat[0]) if array is not None and array.size and bool((array == array.flat[0]).all()) else None


def _use_row(graph: ir.Graph, node: ir.Node, index: int) -> bool:
    table, output = node.inputs[0], node.outputs[0]
    rows = array_of(table)
    if rows is None or table is None or axis_of(node, rows.ndim, default=0) != 0 or output.is_graph_output():
        return False
    if not -len(rows) <= index < len(rows):
        return False  # an index out of range: the graph fails at run time, and must still fail
    if not output.uses() or not all(_has_its_shape_without(reader, output) for reader in output.consumers()):
        return False
    row = constant(graph, f"{table.name}.row_{index}", np.ascontiguousarray(rows[index]))
    output.replace_all_uses_with(row)
    return True


def _has_its_shape_without(reader: ir.Node, value: ir.Value) -> bool:
    """Whether an elementwise node keeps its output shape when `value` becomes a row that broadcasts."""
    wanted = dims_of(reader.outputs[0])
    if reader.op_type not in ELEMENTWISE or wanted is None or None in wanted:
        return False
    others = [dims_of(other) for other in reader.inputs if other is not None and other is not value]
    return any(dims is not None and aligned(dims, len(wanted)) == wanted for dims in others)
