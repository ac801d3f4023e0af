"""Add a constant row to the table of positions once, instead of adding it to every token at each run.

The input embedding of a token is a sum of rows looked up in tables: word, position, token type. A row that is the same
for every token can be added to one of the tables. Independent of what each table holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from graphs.ir.constants import array_of, constant
from graphs.ir.dims import dims_of

_MOST_ROWS = 16384
"""A longer table is a vocabulary, and a second copy of it costs more than the sum saves."""


class EmbeddingSumsPass(ir.passes.InPlacePass):
    """Add the constant row of a sum to a table that another term of the sum looks up.

    Before: Add(Add(words, row), Gather(positions))
    After:  Add(words, Gather(positions + row))

    Requires: shapes inferred (`cleanup`); token types folded to a row (`uniform_lookups`).
    Ensures: changes a sum only where nothing else reads the partial sums or the look-up, the row is [hidden], and the
        table is fp32 [rows, hidden] of at most 16384 rows.
    Numerics: the sum is taken in another order, which changes it by at most one fp32 rounding.
    Source: this project.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every sum that qualifies."""
        sums = [(node, *terms) for node in list(model.graph) if (terms := _constant_term(node)) is not None]
        modified = False
        for node, row, rest in sums:
            lookup = next(_lookups(node, rest, row), None)
            if lookup is not None:
                _merge(model.graph, node, row, rest, lookup)
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def _constant_term(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """The constant row of an Add, and its other operand; None where there is no such row."""
    if node.op_type != "Add" or node.domain or node.outputs[0].is_graph_output():
        return None
    for row, rest in (node.inputs, node.inputs[::-1]):
        if row is not None and rest is not None and rest.const_value is None:
            array = array_of(row)
            if array is not None and array.ndim == 1 and array.dtype == np.float32:
                return row, rest
    return None


def _lookups(node: ir.Node, rest: ir.Value, row: ir.Value) -> Iterator[ir.Node]:
    """Look-ups in the same sum, one Add before or after `node`, whose results nothing else reads."""
    candidates: list[ir.Value | None] = []
    inner = rest.producer()
    if inner is not None and inner.op_type == "Add" and len(rest.uses()) == 1:
        candidates += inner.inputs
    behind = list(node.outputs[0].consumers())
    if len(behind) == 1 and behind[0].op_type == "Add":
        candidates += [value for value in behind[0].inputs if value is not node.outputs[0]]
    width = dims_of(row)
    for value in candidates:
        lookup = None if value is None else value.producer()
        if lookup is None or lookup.op_type != "Gather" or lookup.domain or value is None or len(value.uses()) != 1:
            continue
        table = array_of(lookup.inputs[0])
        along = lookup.attributes.get("axis")
        if table is None or table.dtype != np.float32 or (along is not None and along.as_int() != 0):
            continue
        if table.ndim == 2 and table.shape[0] <= _MOST_ROWS and table.shape[1:] == width:
            yield lookup


def _merge(graph: ir.Graph, node: ir.Node, row: ir.Value, rest: ir.Value, lookup: ir.Node) -> None:
    table, added = array_of(lookup.inputs[0]), array_of(row)
    assert table is not None and added is not None and lookup.inputs[0] is not None
    name = f"{lookup.inputs[0].name}.plus.{row.name}"
    summed = np.add(table.astype(np.float32), added.astype(np.float32))
    lookup.replace_input_with(0, constant(graph, name, summed))
    node.outputs[0].replace_all_uses_with(rest)
    graph.remove(node, safe=True)
