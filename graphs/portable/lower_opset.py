"""Say that a graph needs no more than an earlier opset, so that runtimes of that time load it."""

from __future__ import annotations

import onnx
import onnx_ir as ir

OPSET, IR_VERSION = 20, 9
"""ONNX Runtime 1.17 and later load them, and the clients that bring a runtime of their own."""


class LowerOpsetPass(ir.passes.InPlacePass):
    """Import an earlier opset, where every operator is defined in it.

    Before: opset 23; MatMul, Softmax, Reshape, ...
    After:  opset 20; the same nodes

    Requires: operators that the earlier opset has. Between opsets 20 and 23 those that stayed got further types and
        changed no meaning.
    Ensures: opset `opset`, or a PreconditionError with the operators that are younger.
    Numerics: exact: no node changes.
    Source: ONNX, Operators.md, "since version".
    """

    def __init__(self, opset: int = OPSET, ir_version: int = IR_VERSION) -> None:
        self.opset, self.ir_version = opset, ir_version

    def requires(self, model: ir.Model) -> None:
        """Refuse operators that the opset does not have."""
        nodes = ir.traversal.RecursiveGraphIterator(model.graph)
        younger = sorted({node.op_type for node in nodes if not node.domain and not _has(node.op_type, self.opset)})
        if younger:
            raise ir.passes.PreconditionError(f"opset {self.opset} has no {', '.join(younger)}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Change the numbers alone."""
        before = model.graph.opset_imports[""]
        if before <= self.opset:
            return ir.passes.PassResult(model, modified=False)
        model.graph.opset_imports[""] = self.opset
        model.ir_version = self.ir_version
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            node.version = None
        return ir.passes.PassResult(model, modified=True)


def _has(op_type: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    return True
