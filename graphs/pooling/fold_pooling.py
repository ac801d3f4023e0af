"""Append the pooling to the graph: from token vectors to one vector per text.

`graphs.pooling.strategy.pool` defines every mode; this pass writes it as nodes that ONNX Runtime, TensorRT and
TensorRT-RTX all accept. Independent of checkpoints and of how the token vectors are computed.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx_ir as ir

from graphs.ir.names import ATTENTION_MASK, LAST_HIDDEN_STATE, SENTENCE_EMBEDDING
from graphs.ir.stage import Stage
from graphs.pooling.strategy import PoolingMode, Strategy

_INDEX = ir.DataType.INT32
_OPSET = 18  # the first in which ReduceMax and ReduceMin take their axes as an input


class FoldPoolingPass(ir.passes.InPlacePass):
    """Replace the output `last_hidden_state` by `sentence_embedding`, pooled by `strategy`.

    Before: last_hidden_state float32 [batch, seq, hidden], attention_mask int64 [batch, seq]
    After:  for `mean`: Where(mask) -> ReduceSum -> Div(tokens); for `cls`: GatherND(first token); and so on;
            sentence_embedding float32 [batch, len(strategy) * hidden]

    Requires: `last_hidden_state` as the only output, with a known hidden size; an input `attention_mask`; opset 18 or
        later. A pooled graph lacks that output, so a second application is refused.
    Ensures: one output; every added node has the stage `pooling`; modes share the nodes that they have in common.
        With `prompt_apart` the mask is 1 on tokens and 2 on those that the pooling leaves out; these keep their places,
        and `weightedmean` counts from the first token of all. Without, all that is not 0 is pooled.
    Numerics: exact up to the order of summation. Values at masked positions, NaN and infinity included, do not affect
        the output; a NaN at a token reaches every mode that reads the token. A row without any token gives zeros.
    Source: `graphs.pooling.strategy.pool`; sentence-transformers, `Pooling`.
    """

    def __init__(self, strategy: Strategy, *, prompt_apart: bool = False) -> None:
        if not strategy:
            raise ValueError("a strategy needs at least one pooling mode, got none")
        self.strategy = strategy
        self.prompt_apart = prompt_apart

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without token vectors or mask."""
        names = [value.name for value in model.graph.outputs]
        if names != [LAST_HIDDEN_STATE]:
            raise ir.passes.PreconditionError(f"pooling needs {LAST_HIDDEN_STATE} as the only output, got {names}")
        hidden = model.graph.outputs[0]
        if hidden.dtype != ir.DataType.FLOAT or hidden.shape is None or len(hidden.shape) != 3:
            raise ir.passes.PreconditionError(
                f"pooling needs {LAST_HIDDEN_STATE} float32 [batch, seq, hidden], got {hidden.dtype} {hidden.shape}"
            )
        if not isinstance(hidden.shape[2], int):
            raise ir.passes.PreconditionError(f"pooling needs a known hidden size, got {hidden.shape}")
        if ATTENTION_MASK not in {value.name for value in model.graph.inputs}:
            raise ir.passes.PreconditionError(f"pooling needs an input {ATTENTION_MASK}; the graph has none")
        if (opset := model.opset_imports.get("", 0)) < _OPSET:
            raise ir.passes.PreconditionError(f"pooling needs opset {_OPSET} or later, got {opset}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Append the pooling and make it the output."""
        graph = model.graph
        hidden = graph.outputs[0]
        mask = next(value for value in graph.inputs if value.name == ATTENTION_MASK)
        tokens = _Tokens(Stage(graph, "pooling"), hidden, mask, prompt_apart=self.prompt_apart)
        vectors = [tokens.pooled(mode) for mode in self.strategy]
        output = vectors[0] if len(vectors) == 1 else tokens.stage.op("Concat", *vectors, axis=1)
        assert hidden.shape is not None
        batch, _, width = hidden.shape
        assert isinstance(width, int)
        output.shape = ir.Shape([batch, len(vectors) * width])
        output.name = SENTENCE_EMBEDDING
        graph.outputs[0] = output
        return ir.passes.PassResult(model, modified=True)


class _Tokens:
    """The values that the modes share. The nodes of each are appended on first use, and only once."""

    def __init__(self, stage: Stage, hidden: ir.Value, mask: ir.Value, *, prompt_apart: bool) -> None:
        self.stage = stage
        self.hidden = hidden
        self.mask = mask
        self.prompt_apart = prompt_apart

    def pooled(self, mode: PoolingMode) -> ir.Value:
        """The vector of one mode, float32 [batch, hidden]."""
        op = self.stage.op
        match mode:
            case PoolingMode.CLS:
                return self._row_at(self.first)
            case PoolingMode.LASTTOKEN:
                first = self.stage.constant("first_index", 0, np.int32)
                shown = op("Where", self.is_token, self.positions, first, dtype=_INDEX)
                return self._row_at(op("ReduceMax", shown, self.axis, dtype=_INDEX))
            case PoolingMode.MAX:
                lowest = self.stage.constant("lowest", np.finfo(np.float32).min)
                largest = op("ReduceMax", op("Where", self.is_token_3d, self.hidden, lowest), self.axis, keepdims=0)
                # ReduceMax skips NaN (measured in ONNX Runtime), a sum does not. A NaN must not be hidden.
                is_nan = op("IsNaN", self.total, dtype=ir.DataType.BOOL)
                return self._zero_if_empty(op("Where", is_nan, self.total, largest))
            case PoolingMode.MEAN:
                return op("Div", self.total, self.count)
            case PoolingMode.MEAN_SQRT_LEN_TOKENS:
                return op("Div", self.total, op("Sqrt", self.count))
            case PoolingMode.WEIGHTEDMEAN:
                one = self.stage.constant("one", 1.0)
                places = op("Sub", self.positions, self.first_present, dtype=_INDEX)
                distance = op("Add", op("Cast", places, to=ir.DataType.FLOAT), one)
                weights = op("Where", self.is_token, distance, self.zero)  # [batch, seq]
                weighted = op("Mul", self.token_vectors, op("Unsqueeze", weights, self.stage.axes(-1)))
                total = op("ReduceSum", weighted, self.axis, keepdims=0)
                return op("Div", total, op("Max", op("ReduceSum", weights, self.axis), one))

    @cached_property
    def zero(self) -> ir.Value:
        """0, float32 []."""
        return self.stage.constant("zero", 0.0)

    @cached_property
    def axis(self) -> ir.Value:
        """The axis of the tokens, int64 [1]."""
        return self.stage.axes(1)

    @cached_property
    def mask_numbers(self) -> ir.Value:
        """The mask, float32 [batch, seq]."""
        # Compared in fp32: not every engine compares int64.
        return self.stage.op("Cast", self.mask, to=ir.DataType.FLOAT)

    @cached_property
    def is_present(self) -> ir.Value:
        """Where the mask is positive, bool [batch, seq]."""
        return self.stage.op("Greater", self.mask_numbers, self.zero, dtype=ir.DataType.BOOL)

    @cached_property
    def is_token(self) -> ir.Value:
        """What is pooled, bool [batch, seq]: all that is there, or of it what the mask does not leave out by a 2."""
        if not self.prompt_apart:
            return self.is_present
        return self.stage.op("Equal", self.mask_numbers, self.stage.constant("one", 1.0), dtype=ir.DataType.BOOL)

    @cached_property
    def is_token_3d(self) -> ir.Value:
        """The same, bool [batch, seq, 1]."""
        return self.stage.op("Unsqueeze", self.is_token, self.stage.axes(-1), dtype=ir.DataType.BOOL)

    @cached_property
    def token_vectors(self) -> ir.Value:
        """Token vectors with zeros at masked positions, float32 [batch, seq, hidden]."""
        # Selected, never multiplied by the mask: 0 * NaN is NaN.
        return self.stage.op("Where", self.is_token_3d, self.hidden, self.zero)

    @cached_property
    def total(self) -> ir.Value:
        """Sum of the token vectors, float32 [batch, hidden]."""
        return self.stage.op("ReduceSum", self.token_vectors, self.axis, keepdims=0)

    @cached_property
    def tokens(self) -> ir.Value:
        """Number of tokens, float32 [batch, 1]."""
        return self.stage.op("ReduceSum", self.stage.op("Cast", self.is_token, to=ir.DataType.FLOAT), self.axis)

    @cached_property
    def count(self) -> ir.Value:
        """Number of tokens, 1 for a row without any, float32 [batch, 1]."""
        return self.stage.op("Max", self.tokens, self.stage.constant("one", 1.0))

    @cached_property
    def has_token(self) -> ir.Value:
        """Whether a row has a token, bool [batch, 1]."""
        return self.stage.op("Greater", self.tokens, self.zero, dtype=ir.DataType.BOOL)

    @cached_property
    def seq(self) -> ir.Value:
        """Length of the rows, int64 []."""
        size = self.stage.op("Shape", self.mask, start=1, end=2, dtype=ir.DataType.INT64)
        return self.stage.op("Squeeze", size, self.stage.axes(0), dtype=ir.DataType.INT64)

    @cached_property
    def positions(self) -> ir.Value:
        """0, 1, ..., seq - 1, int32 [seq]."""
        # Integers, since a runtime that executes floats in bf16 represents them only up to 256. Engines reduce int32.
        ends = self.stage.constant("start", 0, np.int64), self.seq, self.stage.constant("step", 1, np.int64)
        return self.stage.op("Cast", self.stage.op("Range", *ends, dtype=ir.DataType.INT64), to=_INDEX, dtype=_INDEX)

    @cached_property
    def end(self) -> ir.Value:
        """The last position, seq - 1, int32 []."""
        step = self.stage.constant("step", 1, np.int64)
        last = self.stage.op("Sub", self.seq, step, dtype=ir.DataType.INT64)
        return self.stage.op("Cast", last, to=_INDEX, dtype=_INDEX)

    @cached_property
    def first(self) -> ir.Value:
        """Position of the first token that is pooled, seq - 1 for a row without any, int32 [batch, 1]."""
        end = self.end
        return self._first(self.is_token, end)

    @cached_property
    def first_present(self) -> ir.Value:
        """Position of the first token of all, int32 [batch, 1]."""
        return self._first(self.is_present, self.end) if self.prompt_apart else self.first

    def _first(self, shown: ir.Value, end: ir.Value) -> ir.Value:
        # By position and not by ArgMax of the mask: engines differ in which of several equal values ArgMax returns.
        places = self.stage.op("Where", shown, self.positions, end, dtype=_INDEX)
        return self.stage.op("ReduceMin", places, self.axis, dtype=_INDEX)

    def _row_at(self, position: ir.Value) -> ir.Value:
        """The token vector at `position` [batch, 1] of each row, float32 [batch, hidden]."""
        index = self.stage.op("Cast", position, to=ir.DataType.INT64, dtype=ir.DataType.INT64)
        return self._zero_if_empty(self.stage.op("GatherND", self.hidden, index, batch_dims=1))

    def _zero_if_empty(self, vector: ir.Value) -> ir.Value:
        return self.stage.op("Where", self.has_token, vector, self.zero)
