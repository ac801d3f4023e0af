"""Store tables of embeddings in int8, with a scale a row."""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.stage import Stage
from graphs.quantization.quantized import LEAST_TABLE_BYTES, Quantization, finished, initializer, replace

_FLOAT, _INT8 = ir.DataType.FLOAT, ir.DataType.INT8


class QuantizeTablesPass(ir.passes.InPlacePass):
    """Look rows up in int8, and widen those that were looked up.

    Before: table fp32 [rows, columns] -> Gather(ids) -> ...
    After:  table int8 -> Gather(ids) -> Cast -> Mul(scale [rows, 1] -> Gather(ids)) -> ...

    Requires: an fp32 graph, shapes inferred.
    Ensures: a row of the table is the same vector wherever it is looked up.
    Numerics: each value rounds to a multiple of its row's largest magnitude over 127.
    Source: row-wise embedding quantisation, as in PyTorch's `embedding_byte`.
    """

    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each Gather of a large table."""
        graph = model.graph
        stage = Stage(graph, "int8_tables")
        found = [node for node in graph if _table(node) is not None]
        for node in found:
            table, ids = node.inputs
            assert table is not None and ids is not None
            int8, old = self.quantization.table(table), node.outputs[0]
            assert old.shape is not None
            row = stage.op("Gather", initializer(graph, int8.values), ids, dtype=_INT8, shape=old.shape)
            scale = stage.op("Gather", initializer(graph, int8.scales), ids, shape=ir.Shape([*old.shape[:-1], 1]))
            wide = stage.op("Cast", row, to=_FLOAT, shape=old.shape)
            replace(old, stage.op("Mul", wide, scale, shape=old.shape))
        return finished(model, modified=bool(found))


def _table(node: ir.Node) -> ir.Value | None:
    """The large table that a node looks rows up in; None where it is no such node."""
    if node.op_type != "Gather" or node.domain or node.attributes.get_int("axis", 0) != 0:
        return None
    table, ids = node.inputs
    if table is None or table.const_value is None or table.dtype != _FLOAT or ids is None or ids.const_value:
        return None
    if any(reader.op_type != "Gather" for reader, _ in table.uses()):
        return None  # multiplied too: it needs scales of its columns
    large = len(table.const_value.shape) == 2 and table.const_value.nbytes >= LEAST_TABLE_BYTES
    return table if large and table.is_initializer() else None
