"""Compute attention in windows in blocks of queries, each against the keys in reach, without control flow.

Attention over all queries at once computes a score for each pair of tokens, and a window hides most of them.
Independent of architectures: the canonical masks tell the windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from graphs.attention.attentions import attentions, like, replace
from graphs.ir.dims import dims_of
from graphs.ir.masks import MaskForm, WrittenMask, additive, bands, key_positions
from graphs.ir.names import INPUT_IDS
from graphs.ir.stage import Stage

_STAGE = "blocks"
_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL
_ONE = ir.Shape([1])


@dataclass(frozen=True)
class Blocked:
    """How many attentions are in blocks."""

    attentions: int

    def describe(self) -> str:
        """In one line."""
        return f"attentions in blocks: {self.attentions}"


def longest_in_one_block(size: int, reach: int) -> int:
    """Tokens of the longest batch that is one block.

    Args:
        size: least queries in a block.
        reach: keys that a query may attend to besides its own.
    """
    return _size(size, reach) + reach


def _size(least: int, reach: int) -> int:
    """Queries in a block. No fewer than half the reach: the overlap then at most triples keys and values."""
    return max(least, reach // 2)


class BlockedWindowsPass(ir.passes.InPlacePass):
    """Compute each Attention whose mask is a window in blocks; one block where a batch is short.

    Before: Attention(Q [batch, heads, seq, head], K, V, mask [batch, 1, seq, seq])
    After:  Gather, Transpose, Reshape -> Q [batch * blocks, heads, block, head],
            K and V [batch * blocks, heads, behind + block + ahead, head], overlapping
            -> Attention(Q, K, V, mask [batch * blocks, 1, block, behind + block + ahead])
            -> Reshape, Transpose, Slice [batch, heads, seq, head]

    Up to a block and a window the batch is one block, against all keys.

    Requires: canonical masks (`canonical_mask`), shapes inferred; the last pass that looks at attention.
    Ensures: no value of these attentions has two axes of the length beyond a block and a window; the same nodes for
        every length, for runtimes that compute an `If` or a `Loop` badly. Weights stay.
    Numerics: exact: a softmax over the scores that the mask leaves. Queries that are padding give other numbers, which
        nothing reads.
    Source: Longformer, sliding windows in overlapping chunks.

    After a run, `result` says how many.
    """

    def __init__(self, size: int, longest: int) -> None:
        """Prepare a run.

        Args:
            size: least queries in a block.
            longest: tokens of the longest batch; where it is one block, attention stays as it is.
        """
        self.size = size
        self.longest = longest
        self.result = Blocked(0)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Attention in windows."""
        graph = model.graph
        found = [(node, mask) for node, mask in attentions(graph).found if self._pays(mask.form)]
        if found:
            stage = Stage(graph, _STAGE)
            blocks: dict[tuple[MaskForm, ir.Value], _Blocks] = {}
            for node, mask in found:
                key = mask.form, mask.tokens
                if key not in blocks:
                    blocks[key] = _Blocks(stage, mask, self.size)
                replace(graph, node, blocks[key].attend(node))
            graph.sort()
            common.RemoveUnusedNodesPass()(model)
        self.result = Blocked(len(found))
        return ir.passes.PassResult(model, modified=bool(found))

    def _pays(self, form: MaskForm) -> bool:
        if form.behind is None or form.ahead is None:
            return False
        return longest_in_one_block(self.size, form.behind + form.ahead) < self.longest


class _Blocks:
    """What the blocks of all attentions with one mask share: their count, their queries, their keys, their mask."""

    def __init__(self, stage: Stage, mask: WrittenMask, least: int) -> None:
        """Append the shared nodes; `least` queries in a block of a long batch."""
        self._stage, form = stage, mask.form
        self._shapes: dict[tuple[ir.Value, ...], ir.Value] = {}
        assert form.behind is not None and form.ahead is not None
        op, axes, reach = stage.op, stage.axes, form.behind + form.ahead
        size, longest = _size(least, reach), longest_in_one_block(least, reach)
        ids = next(value for value in stage.graph.inputs if value.name == INPUT_IDS)
        self._seq = op("Shape", ids, start=1, end=2, dtype=_INT64, shape=_ONE)
        positions, first = key_positions(stage, mask)
        keys = op("Shape", positions, dtype=_INT64, shape=_ONE)
        short = op("LessOrEqual", self._seq, axes(longest), dtype=_BOOL, shape=_ONE)
        self._count = self._where(short, axes(1), self._divide_up(self._seq, axes(size)))
        self._length = self._divide_up(self._seq, self._count)
        self._total = op("Mul", self._count, self._length, dtype=_INT64, shape=_ONE)
        before = self._where(short, first, axes(form.behind))
        self._width = self._where(short, keys, self._add(self._length, axes(reach)))
        starts = op("Mul", self._range(self._count), self._length, dtype=_INT64, shape=ir.Shape([None]))
        starts = op("Unsqueeze", starts, axes(1), dtype=_INT64, shape=ir.Shape([None, 1]))
        within, around = self._range(self._length), self._range(self._width)
        around = op("Sub", around, before, dtype=_INT64, shape=ir.Shape([None]))
        last = op("Sub", self._seq, axes(1), dtype=_INT64, shape=_ONE)
        # The last block may lack queries, and the first and the last ones keys: others stand there, unread or hidden.
        self._queries = op("Min", self._pairs(starts, within), last, dtype=_INT64, shape=_PAIRS)
        places = self._pairs(op("Add", starts, first, dtype=_INT64, shape=ir.Shape([None, 1])), around)
        there = op(
            "And",
            op("GreaterOrEqual", places, axes(0), dtype=_BOOL, shape=_PAIRS),
            op("Less", places, keys, dtype=_BOOL, shape=_PAIRS),
            dtype=_BOOL,
            shape=_PAIRS,
        )
        last = op("Sub", keys, axes(1), dtype=_INT64, shape=_ONE)
        places = op("Max", places, axes(0), dtype=_INT64, shape=_PAIRS)
        self._keys = op("Min", places, last, dtype=_INT64, shape=_PAIRS)
        self._mask = self._additive(mask, there, within, around)

    def attend(self, node: ir.Node) -> ir.Value:
        """What an Attention gives, float32 [batch, heads, seq, head]."""
        op, axes = self._stage.op, self._stage.axes
        query, key, value = node.inputs[:3]
        assert query is not None and key is not None and value is not None
        batch, heads, seq, head = dims_of(node.outputs[0]) or ()
        assert isinstance(heads, int) and isinstance(head, int)
        rows = self._taken(query, self._queries, self._length)
        seen = (self._taken(self._for_each(x, heads), self._keys, self._width) for x in (key, value))
        made = like(self._stage, node, rows, *seen, self._mask, shape=ir.Shape([None, heads, None, head]))
        apart = self._dims(axes(-1), self._count, axes(heads), self._length, axes(head))
        made = op("Reshape", made, apart, shape=ir.Shape([batch, None, heads, None, head]))
        made = op("Transpose", made, perm=[0, 2, 1, 3, 4], shape=ir.Shape([batch, heads, None, None, head]))
        joined = self._dims(axes(-1, heads), self._total, axes(head))
        made = op("Reshape", made, joined, shape=ir.Shape([batch, heads, None, head]))
        return op("Slice", made, axes(0), self._seq, axes(2), shape=ir.Shape([batch, heads, seq, head]))

    def _for_each(self, value: ir.Value, heads: int) -> ir.Value:
        """Keys or values [batch, heads, seq, head] for each query head.

        Behind a Reshape by a computed shape OpenVINO does not know how many heads there are, and shares none but one.
        """
        batch, shared, seq, head = dims_of(value) or ()
        assert isinstance(shared, int)
        if shared in (1, heads):
            return value
        places = self._stage.axes(*(place * shared // heads for place in range(heads)))
        return self._stage.op("Gather", value, places, axis=1, shape=ir.Shape([batch, heads, seq, head]))

    def _taken(self, value: ir.Value, places: ir.Value, length: ir.Value) -> ir.Value:
        """Of [batch, heads, any, head] the rows at places [blocks, length]: [batch * blocks, heads, length, head]."""
        op, axes = self._stage.op, self._stage.axes
        batch, heads, _, head = dims_of(value) or ()
        assert isinstance(heads, int) and isinstance(head, int)
        taken = op("Gather", value, places, axis=2, shape=ir.Shape([batch, heads, None, None, head]))
        taken = op("Transpose", taken, perm=[0, 2, 1, 3, 4], shape=ir.Shape([batch, None, heads, None, head]))
        joined = self._dims(axes(-1, heads), length, axes(head))
        return op("Reshape", taken, joined, shape=ir.Shape([None, heads, None, head]))

    def _additive(self, mask: WrittenMask, there: ir.Value, within: ir.Value, around: ir.Value) -> ir.Value:
        """The mask of all blocks, float32 [batch * blocks, 1, block, keys of a block]."""
        op, axes = self._stage.op, self._stage.axes
        batch, keys = dims_of(mask.tokens) or (None, None)
        tokens = op("Cast", mask.tokens, to=_BOOL, dtype=_BOOL, shape=ir.Shape([batch, keys]))
        tokens = op("Gather", tokens, self._keys, axis=1, dtype=_BOOL, shape=ir.Shape([batch, None, None]))
        tokens = op("And", tokens, there, dtype=_BOOL, shape=ir.Shape([batch, None, None]))
        joined = self._dims(axes(-1, 1, 1), self._width)
        allowed = op("Reshape", tokens, joined, dtype=_BOOL, shape=ir.Shape([None, 1, 1, None]))
        query = op("Unsqueeze", within, axes(1), dtype=_INT64, shape=ir.Shape([None, 1]))
        for band in bands(self._stage, mask.form, query, around, _PAIRS):
            allowed = op("And", band, allowed, dtype=_BOOL, shape=ir.Shape([None, 1, None, None]))
        return additive(self._stage, mask.form, allowed)

    def _range(self, count: ir.Value) -> ir.Value:
        """0 to before a count, int64 [count]."""
        stage = self._stage
        end = stage.op("Squeeze", count, stage.axes(0), dtype=_INT64, shape=ir.Shape([]))
        ends = stage.constant("zero_int", 0, np.int64), end, stage.constant("one_int", 1, np.int64)
        return stage.op("Range", *ends, dtype=_INT64, shape=ir.Shape([None]))

    def _pairs(self, starts: ir.Value, offsets: ir.Value) -> ir.Value:
        return self._stage.op("Add", starts, offsets, dtype=_INT64, shape=_PAIRS)

    def _add(self, one: ir.Value, other: ir.Value) -> ir.Value:
        return self._stage.op("Add", one, other, dtype=_INT64, shape=_ONE)

    def _divide_up(self, one: ir.Value, by: ir.Value) -> ir.Value:
        op = self._stage.op
        more = op("Sub", self._add(one, by), self._stage.axes(1), dtype=_INT64, shape=_ONE)
        return op("Div", more, by, dtype=_INT64, shape=_ONE)

    def _where(self, condition: ir.Value, then: ir.Value, otherwise: ir.Value) -> ir.Value:
        return self._stage.op("Where", condition, then, otherwise, dtype=_INT64, shape=_ONE)

    def _dims(self, *dims: ir.Value) -> ir.Value:
        """A shape; all attentions share it, since short batches feel every node."""
        if dims not in self._shapes:
            self._shapes[dims] = self._stage.op("Concat", *dims, axis=0, dtype=_INT64, shape=ir.Shape([None]))
        return self._shapes[dims]


_PAIRS = ir.Shape([None, None])
"""[blocks, offsets]."""
