"""Append the head, the modules that follow the pooling: dense layers, normalisation, truncation.

`graphs.pooling.head` defines them; this pass appends them as nodes. Independent of how the vectors are computed.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.names import SENTENCE_EMBEDDING
from graphs.ir.stage import Stage, stage_of
from graphs.pooling.head import Activation, Dense, Head, Normalize, Truncate

_STAGE = "head"
_OPSET = 20  # the first with Gelu


class FoldHeadPass(ir.passes.InPlacePass):
    """Append the modules of `head` after `sentence_embedding`, in order.

    Before: sentence_embedding float32 [batch, hidden]
    After:  Gemm [-> activation] [-> Add(residual)] for a dense layer; ReduceL2 -> Max(1e-12) -> Div for normalisation;
            Slice for truncation; the last output is called sentence_embedding, float32 [batch, dim]

    Requires: `sentence_embedding` as the only output, with a known width, and no head yet; opset 20 or later.
    Ensures: the output keeps its name and dtype; every added node has the stage `head`. An empty head, or one that only
        truncates to the full width, adds nothing, and the result says "not modified".
    Numerics: fp32; Gelu is the exact one. A zero row stays zero.
    Source: sentence-transformers, `Dense`, `Normalize`, `truncate_dim`; torch.nn.functional.normalize.

    Raises:
        ValueError: a module does not fit the width of its input. The graph has not been changed.
    """

    def __init__(self, head: Head) -> None:
        self.head = head

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without pooled vectors, or with a head already."""
        names = [value.name for value in model.graph.outputs]
        if names != [SENTENCE_EMBEDDING]:
            raise ir.passes.PreconditionError(f"a head needs {SENTENCE_EMBEDDING} as the only output, got {names}")
        output = model.graph.outputs[0]
        if output.shape is None or len(output.shape) != 2 or not isinstance(output.shape[1], int):
            raise ir.passes.PreconditionError(
                f"a head needs {SENTENCE_EMBEDDING} [batch, dim] with a known dim, got {output.shape}"
            )
        if any(stage_of(node) == _STAGE for node in model.graph):
            raise ir.passes.PreconditionError("the graph has a head already; fold it into the pooled graph once")
        if (opset := model.opset_imports.get("", 0)) < _OPSET:
            raise ir.passes.PreconditionError(f"a head needs opset {_OPSET} or later, got {opset}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Append the modules."""
        graph = model.graph
        pooled = graph.outputs[0]
        assert pooled.shape is not None
        batch, width = pooled.shape
        assert isinstance(width, int)
        widths = _widths(self.head, width)
        stage = Stage(graph, _STAGE)
        vector = pooled
        for index, (module, width_in) in enumerate(zip(self.head, [width, *widths], strict=False)):
            match module:
                case Dense():
                    vector = _dense(stage, vector, module, index)
                case Normalize():
                    vector = _normalize(stage, vector)
                case Truncate(dimensions) if dimensions < width_in:
                    ends = stage.axes(0), stage.axes(dimensions), stage.axes(1)
                    vector = stage.op("Slice", vector, *ends)
        if vector is pooled:
            return ir.passes.PassResult(model, modified=False)
        pooled.name = f"{_STAGE}.input"
        vector.name = SENTENCE_EMBEDDING
        vector.shape = ir.Shape([batch, widths[-1]])
        graph.outputs[0] = vector
        return ir.passes.PassResult(model, modified=True)


def _widths(head: Head, width: int) -> list[int]:
    """The width of each module's output.

    Raises:
        ValueError: a module does not fit.
    """
    widths = []
    for index, module in enumerate(head):
        match module:
            case Dense(weight, bias, _, residual):
                _expect(f"dense layer {index}: the weight reads", weight.shape[1], width)
                if isinstance(residual, np.ndarray):
                    _expect(f"dense layer {index}: the residual reads", residual.shape[1], width)
                    _expect(f"dense layer {index}: the residual gives", residual.shape[0], weight.shape[0])
                elif residual is not None:
                    _expect(f"dense layer {index}: an identity residual gives", width, weight.shape[0])
                if bias is not None:
                    _expect(f"dense layer {index}: the bias has", bias.shape[0], weight.shape[0])
                width = weight.shape[0]
            case Truncate(dimensions):
                if not 1 <= dimensions <= width:
                    raise ValueError(f"truncation to {dimensions} dimensions: the vectors have {width}")
                width = dimensions
        widths.append(width)
    return widths


def _expect(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"{what} {got} dimensions, expected {expected}")


def _dense(stage: Stage, vector: ir.Value, dense: Dense, index: int) -> ir.Value:
    """`activation(x @ weight.T + bias)` plus the residual, float32 [batch, out]."""
    inputs = [vector, stage.constant(f"{index}.weight", dense.weight)]
    if dense.bias is not None:
        inputs.append(stage.constant(f"{index}.bias", dense.bias))
    linear = stage.op("Gemm", *inputs, transB=1)
    match dense.activation:
        case Activation.IDENTITY:
            result = linear
        case Activation.SILU:
            result = stage.op("Mul", linear, stage.op("Sigmoid", linear))
        case operator:
            result = stage.op(operator.value, linear)
    match dense.residual:
        case None:
            return result
        case np.ndarray():
            projection = stage.constant(f"{index}.residual", dense.residual)
            return stage.op("Add", result, stage.op("Gemm", vector, projection, transB=1))
        case _:
            return stage.op("Add", result, vector)


def _normalize(stage: Stage, vector: ir.Value) -> ir.Value:
    """`x / max(norm(x), 1e-12)`, float32 [batch, width]."""
    norm = stage.op("ReduceL2", vector, stage.axes(-1))
    return stage.op("Div", vector, stage.op("Max", norm, stage.constant("smallest_norm", 1e-12)))
