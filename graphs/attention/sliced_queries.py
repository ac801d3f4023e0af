"""Append the slices of one attention to a branch: a loop over slices of queries, each against the keys that it sees."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.attention.attentions import like
from graphs.ir.dims import dims_of
from graphs.ir.masks import WrittenMask, additive, bands, key_positions, key_tokens
from graphs.ir.stage import Stage

_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL
_END = np.iinfo(np.int64).max
_ONE = ir.Shape([1])


def subgraph(name: str, outer: Stage) -> Stage:
    """The stage of a branch or a body whose outputs are to be appended; its nodes read the values of `outer`."""
    return Stage(ir.Graph([], [], nodes=[], name=name), name, mark=outer.name, outer=outer)


class SlicedQueries:
    """What the slices of all attentions with one mask share: its tokens, positions and lengths."""

    def __init__(self, stage: Stage, mask: WrittenMask, seq: ir.Value, size: int) -> None:
        """Append the shared nodes.

        Args:
            stage: of the graph.
            mask: of the attentions.
            seq: number of queries, int64 [1].
            size: queries in a slice.
        """
        self._form, self._seq, self._size = mask.form, seq, size
        self._width = stage.axes(size)
        self._tokens = key_tokens(stage, mask)
        self._positions, self._first = key_positions(stage, mask)
        self._keys = stage.op("Shape", mask.tokens, start=1, end=2, dtype=_INT64, shape=_ONE)
        self._batch = stage.op("Shape", mask.tokens, start=0, end=1, dtype=_INT64, shape=_ONE)
        whole = stage.op("Add", seq, stage.axes(size - 1), dtype=_INT64, shape=_ONE)
        count = stage.op("Div", whole, self._width, dtype=_INT64, shape=_ONE)
        self._count = stage.op("Squeeze", count, stage.axes(0), dtype=_INT64, shape=ir.Shape([]))

    def attend(self, stage: Stage, node: ir.Node) -> ir.Value:
        """What an Attention gives, float32 [batch, heads, seq, head], appended to a branch."""
        batch, heads, seq, head = dims_of(node.outputs[0]) or ()
        body = subgraph(f"{stage.name}.body", stage)
        number, go_on = (
            ir.Value(name=f"{body.name}.{name}", type=ir.TensorType(dtype), shape=ir.Shape([]))
            for name, dtype in (("number", _INT64), ("go_on", _BOOL))
        )
        body.graph.inputs.extend([number, go_on])
        still = body.op("Identity", go_on, dtype=_BOOL, shape=ir.Shape([]))
        body.graph.outputs.extend([still, self._slice(body, number, node)])
        true = stage.constant("true", True, np.bool_)
        made = stage.op("Loop", self._count, true, shape=ir.Shape(["slices", batch, heads, self._size, head]))
        loop = made.producer()
        assert loop is not None
        loop.attributes.add(ir.AttrGraph("body", body.graph))
        shape = ir.Shape([batch, heads, "slices", self._size, head])
        turned = stage.op("Transpose", made, perm=[1, 2, 0, 3, 4], shape=shape)
        assert isinstance(heads, int) and isinstance(head, int)
        joined = stage.op("Reshape", turned, stage.axes(0, heads, -1, head), shape=ir.Shape([batch, heads, None, head]))
        return self._cut(stage, joined, None, self._seq, 2, ir.Shape([batch, heads, seq, head]))

    def _slice(self, body: Stage, number: ir.Value, node: ir.Node) -> ir.Value:
        """The slice of a number, padded with rows of zeros: float32 [batch, heads, self._size, head]."""
        op, axes = body.op, body.axes
        query, key, value = node.inputs[:3]
        assert query is not None and key is not None and value is not None
        place = op("Unsqueeze", number, axes(0), dtype=_INT64, shape=_ONE)
        start = op("Mul", place, self._width, dtype=_INT64, shape=_ONE)
        end = op("Min", op("Add", start, self._width, dtype=_INT64, shape=_ONE), self._seq, dtype=_INT64, shape=_ONE)
        queries = self._cut(body, query, start, end, 2)
        rows = op("Sub", end, start, dtype=_INT64, shape=_ONE)
        if self._form.by_position:
            start, end = (op("Add", x, self._first, dtype=_INT64, shape=_ONE) for x in (start, end))
            key, value, mask = self._seen(body, key, value, start, end)
        else:
            target = op("Concat", self._batch, axes(1), rows, self._keys, axis=0, dtype=_INT64, shape=ir.Shape([4]))
            every = additive(body, self._form, self._tokens)
            mask = op("Expand", every, target, shape=_with(every, 2, None))
        batch, heads, _, head = dims_of(node.outputs[0]) or ()
        made = like(body, node, queries, key, value, mask, shape=ir.Shape([batch, heads, None, head]))
        short = op("Sub", self._width, rows, dtype=_INT64, shape=_ONE)
        padding = op("Concat", axes(0, 0, 0, 0, 0, 0), short, axes(0), axis=0, dtype=_INT64, shape=ir.Shape([8]))
        return op("Pad", made, padding, shape=ir.Shape([batch, heads, self._size, head]))

    def _seen(
        self, body: Stage, key: ir.Value, value: ir.Value, start: ir.Value, end: ir.Value
    ) -> tuple[ir.Value, ir.Value, ir.Value]:
        """The keys, the values and the mask of the queries from `start` to before `end`, in positions of keys."""
        op, axes, form = body.op, body.axes, self._form
        first = last = None
        if form.behind is not None:
            reach = op("Sub", start, axes(form.behind), dtype=_INT64, shape=_ONE)
            first = op("Max", reach, axes(0), dtype=_INT64, shape=_ONE)
        if form.ahead is not None:
            reach = op("Add", end, axes(form.ahead), dtype=_INT64, shape=_ONE)
            last = op("Min", reach, self._keys, dtype=_INT64, shape=_ONE)
        queries = self._cut(body, self._positions, start, end, 0, ir.Shape([None]))
        queries = op("Unsqueeze", queries, axes(1), dtype=_INT64, shape=ir.Shape([None, 1]))
        positions = self._cut(body, self._positions, first, last, 0, ir.Shape([None]))
        allowed = self._cut(body, self._tokens, first, last, 3)
        shape = _with(allowed, 2, None)
        for band in bands(body, form, queries, positions, ir.Shape([None, None])):
            allowed = op("And", band, allowed, dtype=_BOOL, shape=shape)
        kept = [self._cut(body, x, first, last, 2) for x in (key, value)]
        return kept[0], kept[1], additive(body, form, allowed)

    @staticmethod
    def _cut(
        stage: Stage,
        value: ir.Value,
        start: ir.Value | None,
        end: ir.Value | None,
        axis: int,
        shape: ir.Shape | None = None,
    ) -> ir.Value:
        """A part of a value along an axis, int64 [1] from and to; None for its beginning and its end."""
        assert value.dtype is not None
        ends = (start or stage.axes(0), end or stage.axes(_END), stage.axes(axis))
        return stage.op("Slice", value, *ends, dtype=value.dtype, shape=shape or _with(value, axis, None))


def _with(value: ir.Value, axis: int, dim: int | str | None) -> ir.Shape:
    """The shape of a value with another size along one axis."""
    dims = list(dims_of(value) or ())
    dims[axis] = dim
    return ir.Shape(dims)
