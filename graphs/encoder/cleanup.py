"""Clean up an exported graph: fold constants, merge duplicates, remove unused nodes, infer every dtype.

The result names no file of the build machine, and equal input gives equal bytes. Independent of what the graph
computes; it may run after any pass.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from graphs.ir.stage import FORM_KEY, STAGE_KEY

_FOLD_LIMIT = 1024
"""Elements. Shape arithmetic and scalars are folded; a table of position vectors is kept as a table.
Transposed weights are folded whatever their size: they become views, and nothing is copied."""

_MERGE_LIMIT = 1024
"""Elements. Equal constants up to this size are merged; larger ones are hardly ever equal, and slow to compare."""


def cleanup(model: ir.Model) -> bool:
    """Clean `model` in place. Works past 2 GB: large initializers are neither copied nor serialised.

    Before: Constant -> Cast -> Reshape -> Slice; Transpose(weight) -> MatMul; Identity; stack traces in the metadata
    After:  Slice with initializers; MatMul with the transposed weight; every value has a dtype

    Numerics: exact.
    Source: onnx-ir's common passes; onnxscript's constant folder.

    Returns:
        Whether anything changed.

    Raises:
        ValueError: a value has no dtype even after shape inference.
    """
    passes = ir.passes.Sequential(
        common.InlinePass(),
        _StripMetadataPass(),
        # Before folding, so that a weight that several nodes transpose is transposed once.
        common.CommonSubexpressionEliminationPass(),
        _FoldConstantsPass(),
        common.IdentityEliminationPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(size_limit=_MERGE_LIMIT),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True),
        _StripMetadataPass(),
    )
    modified = passes(model).modified
    untyped = [value.name for node in model.graph for value in node.outputs if value.name and value.dtype is None]
    if untyped:
        raise ValueError(
            f"{len(untyped)} values have no dtype after shape inference, the first {untyped[0]!r}; expected none. "
            "An operator of the graph is unknown to ONNX, or its inputs contradict each other."
        )
    return modified


class _FoldConstantsPass(ir.passes.InPlacePass):
    """onnxscript's constant folder as a pass; onnxscript's own pass class is private."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        result = optimizer.fold_constants(model, input_size_limit=_FOLD_LIMIT, output_size_limit=_FOLD_LIMIT)
        return ir.passes.PassResult(model, modified=result.modified)


class _StripMetadataPass(ir.passes.InPlacePass):
    """Remove all metadata but poolfold's own: exporters write stack traces, with file paths of the build machine."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
        values = [*model.graph.inputs, *model.graph.initializers.values(), *(v for node in nodes for v in node.outputs)]
        noted: list[ir.Model | ir.Graph | ir.Node | ir.Value] = [model, model.graph, *nodes, *values]
        modified = False
        for item in noted:
            kept = {key: note for key, note in item.metadata_props.items() if key in (STAGE_KEY, FORM_KEY)}
            modified |= item.doc_string is not None or kept != item.metadata_props
            item.doc_string = None
            item.metadata_props.clear()
            item.metadata_props.update(kept)
        return ir.passes.PassResult(model, modified=modified)
