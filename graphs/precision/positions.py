"""Find the float arithmetic on positions: the nodes from which an index, a sine or a cosine is computed.

Rotary embeddings multiply positions by frequencies; relative position buckets round the logarithm of positions. Token
vectors take no part in this. `float16_rules` and `ranges` use the result.
"""

from __future__ import annotations

import onnx_ir as ir

_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def position_arithmetic(graph: ir.Graph) -> dict[ir.Node, ir.Node]:
    """Each node of position arithmetic -> the Sin, Cos or Cast to integers at its end, which is included."""
    end_of: dict[ir.Node, ir.Node] = {}
    for end in graph:
        makes_index = end.op_type == "Cast" and end.outputs[0].dtype in _INTEGERS and bool(_floats(end))
        if makes_index or end.op_type in ("Sin", "Cos"):
            pending = [end]
            while pending:
                node = pending.pop()
                if node not in end_of:
                    end_of[node] = end
                    pending += [producer for value in _floats(node) if (producer := value.producer()) is not None]
    return end_of


def _floats(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None and value.dtype == ir.DataType.FLOAT]
