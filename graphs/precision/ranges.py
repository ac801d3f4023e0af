"""Add an output to an fp32 graph that gives the largest magnitude of each tensor for each text.

Run on real text, it shows which tensors exceed fp16's range, and in which text. The rule `measured-range` of
`float16_rules` decides what follows.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.movement import moved_inputs
from graphs.ir.names import INPUT_IDS, scores_name
from graphs.ir.stage import Stage, stage_of
from graphs.precision.attention_scores import has_scores, score_bound
from graphs.precision.mask_constants import find_mask_flow
from graphs.precision.positions import position_arithmetic

TENSOR_RANGES = "tensor_ranges"


class ProbeRangesPass(ir.passes.InPlacePass):
    """Add the output `tensor_ranges`, float32 [tensors, batch]: the largest magnitude of each tensor in each text.

    Before: MatMul -> Add -> ... -> sentence_embedding
    After:  the same, and for each tensor ReduceMax, ReduceMin, ReduceSum over all axes but batch -> tensor_ranges

    It covers the float tensors that nodes of the encoder compute, and a bound on the scores inside each Attention. It
    leaves out tensors that only move another tensor's values, since they have its range; pooling, head and arithmetic
    on positions, which stay fp32; and tensors that carry a masking constant, which is clamped. Padded positions count,
    since a device computes them too.

    Requires: shapes and dtypes inferred (`cleanup`), an input `input_ids`, no output `tensor_ranges`.
    Ensures: the other outputs do not change. A tensor without a batch axis gives the same range for every text.
    Numerics: exact; a NaN in a text gives NaN, an infinity gives an infinity or NaN.
    Source: this project.

    After a run, `tensors` lists the tensors in the order of the output's rows.
    """

    def __init__(self) -> None:
        self.tensors: tuple[str, ...] = ()

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without `input_ids`, or with an output `tensor_ranges`."""
        if TENSOR_RANGES in {value.name for value in model.graph.outputs}:
            raise ir.passes.PreconditionError(
                f"the graph has an output {TENSOR_RANGES} already; probe a clone of the original"
            )
        if _ids(model.graph) is None:
            raise ir.passes.PreconditionError("the probe needs an input input_ids [batch, seq]; the graph has none")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Append the reductions and the output."""
        graph = model.graph
        ids = _ids(graph)
        assert ids is not None and ids.shape is not None
        mask = find_mask_flow(graph).tensors
        positions = position_arithmetic(graph)
        probed = [
            value
            for node in graph
            if stage_of(node) is None and node not in positions and not _moves_a_tensor(node)
            for value in node.outputs
            if value.dtype == ir.DataType.FLOAT and value.name and value not in mask
        ]
        attentions = [node for node in graph if has_scores(node)]
        self.tensors = (*(str(value.name) for value in probed), *(scores_name(node) for node in attentions))
        if not self.tensors:
            return ir.passes.PassResult(model, modified=False)
        stage = Stage(graph, "ranges")
        batch = stage.op("Shape", ids, start=0, end=1, dtype=ir.DataType.INT64)
        rows = [_range(stage, value, ids.shape[0], batch) for value in probed]
        rows += [score_bound(stage, node) for node in attentions]
        output = stage.op("Concat", *rows, axis=0, shape=ir.Shape([len(rows), ids.shape[0]]))
        output.name = TENSOR_RANGES
        graph.outputs.append(output)
        return ir.passes.PassResult(model, modified=True)


def _ids(graph: ir.Graph) -> ir.Value | None:
    return next((value for value in graph.inputs if value.name == INPUT_IDS and value.shape is not None), None)


def _moves_a_tensor(node: ir.Node) -> bool:
    moved = moved_inputs(node)
    return bool(moved) and all(value.const_value is None for value in moved)


def _range(stage: Stage, value: ir.Value, batch_dim: int | ir.SymbolicDim, batch: ir.Value) -> ir.Value:
    """The largest magnitude of `value` in each text, float32 [1, batch]."""
    by_row = value.shape is not None and len(value.shape) > 0 and value.shape[0] == batch_dim
    flat = stage.op("Flatten", value, axis=1 if by_row else 0)  # [batch, values] or [1, values]
    axis = stage.axes(1)
    # Two reductions read the tensor twice; Abs and one reduction would read it once, write a copy, and read the copy.
    highest = stage.op("ReduceMax", flat, axis)
    lowest = stage.op("Neg", stage.op("ReduceMin", flat, axis))
    # ONNX Runtime's ReduceMax and ReduceMin skip NaN; a sum does not.
    total = stage.op("ReduceSum", flat, axis)
    largest = stage.op(
        "Where", stage.op("IsNaN", total, dtype=ir.DataType.BOOL), total, stage.op("Max", highest, lowest)
    )
    row = stage.op("Reshape", largest, stage.axes(1, -1))
    if by_row:
        return row
    shape = stage.op("Concat", stage.axes(1), batch, axis=0, dtype=ir.DataType.INT64)
    return stage.op("Expand", row, shape)
