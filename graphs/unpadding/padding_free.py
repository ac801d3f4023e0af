"""Compute real tokens only: pack them for operators that treat each token separately, unpack them for the others.

A batch of texts of different lengths is padded to the longest, and an encoder computes padding like any other token.
Independent of architectures: `token_rules` decides for each operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from graphs.ir.dims import BATCH, SEQ, Dims, aligned, dims_of
from graphs.ir.names import ATTENTION_MASK, TOKEN_POSITIONS
from graphs.ir.stage import Stage, stage_of
from graphs.unpadding.token_mixing import unhidden_padding
from graphs.unpadding.token_rules import token_inputs

TOKENS = "tokens"
_STAGE = "packing"
_RECTANGULAR_STAGES = frozenset({"pooling", "head", "mask", _STAGE})


@dataclass(frozen=True)
class PaddingFree:
    """How many nodes and matrix products compute real tokens only, and how often tokens are packed and unpacked.

    why: the reason if nothing was packed.
    """

    nodes: int
    products: int
    packs: int
    unpacks: int
    why: str = ""

    def describe(self) -> str:
        """What was packed, or why nothing was, in one line."""
        if self.why:
            return f"not packed: {self.why}"
        work = f"{self.nodes} nodes and {self.products} matrix products on real tokens"
        return f"{work}, packed {self.packs} and unpacked {self.unpacks} times"


class PaddingFreePass(ir.passes.InPlacePass):
    """Run token-wise regions that contain a matrix product on [1, tokens, ...] instead of [batch, seq, ...].

    Before: input_ids -> Gather -> MatMul -> Reshape -> Transpose -> Attention -> Transpose -> Reshape -> MatMul
    After:  Gather(input_ids, positions) -> Gather -> MatMul -> Reshape -> Gather(slots) -> Transpose -> Attention
            -> Transpose -> Gather(positions) -> Reshape -> MatMul

    `positions` [1, tokens] are the indices of the tokens in the flattened batch: NonZero(attention_mask), or the graph
    input token_positions for engines whose parser has no NonZero. `slots` [batch, seq] is the index of the packed token
    at each position; at padding it is the index of some token, which the attention mask hides as it hides padding.

    Requires: a canonical attention mask, a pooling, constant shapes (`constant_shapes`), shapes inferred. A graph in
        which padding could affect a token in another way (`token_mixing`) stays as it is, and `result` says why.
    Ensures: outputs keep their shapes and values for every mask. The first position of the batch counts as a token, so
        that there is at least one. A second application changes nothing.
    Numerics: exact; a matrix product of fewer rows may sum in another order.
    Source: the "unpadding" of FlashAttention-based encoders, in standard operators.

    After a run, `result` says what was packed.
    """

    def __init__(self, *, positions_as_input: bool = False) -> None:
        self.positions_as_input = positions_as_input
        self.result = PaddingFree(0, 0, 0, 0)

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without a mask, or with outputs that hold values at padding."""
        mask = next((value for value in model.graph.inputs if value.name == ATTENTION_MASK), None)
        if dims_of(mask) != (BATCH, SEQ):
            raise ir.passes.PreconditionError(
                f"padding-free compute needs {ATTENTION_MASK} [batch, seq], got {dims_of(mask)}; "
                "expected the exporter's names"
            )
        wide = [v.name for v in model.graph.outputs if SEQ in (dims_of(v) or (SEQ,))]
        if wide:
            raise ir.passes.PreconditionError(
                f"padding-free compute leaves other numbers at padding, and {wide} would show them; fold the pooling in"
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Find the regions, then pack their inputs and unpack their outputs."""
        graph = model.graph
        regions = _regions(graph)
        reasons = unhidden_padding(graph, regions) if regions else ["no token-wise matrix product"]
        if reasons:
            self.result = PaddingFree(0, 0, 0, 0, why=reasons[0])
            return ir.passes.PassResult(model, modified=False)
        packing = _Packing(graph, as_input=self.positions_as_input)
        for node, places in regions.items():
            for place in places:
                value = node.inputs[place]
                assert value is not None
                if value.producer() not in regions:
                    node.replace_input_with(place, packing.pack(value, _token_dims(node, value)))
            _pack_outputs(node)
        for node in regions:
            for value in node.outputs:
                for reader, place in list(value.uses()):
                    if reader not in regions and stage_of(reader) != _STAGE:
                        packing.unpack_for(reader, place, value)
        graph.sort()
        products = sum(node.op_type == "MatMul" for node in regions)
        self.result = PaddingFree(len(regions), products, packing.packs, packing.unpacks)
        return ir.passes.PassResult(model, modified=True)


def _pack_outputs(node: ir.Node) -> None:
    for value in node.outputs:
        if (dims := dims_of(value)) is not None:  # an omitted output has no shape
            value.shape = ir.Shape([1, TOKENS, *dims[2:]])


def _token_dims(node: ir.Node, value: ir.Value) -> Dims:
    """The dimensions of an input with its first two axes broadcast as the node does."""
    dims = dims_of(value)
    assert dims is not None
    if node.op_type == "Gather" and node.inputs[1] is value:
        return dims
    return aligned(dims, max(len(dims), len(dims_of(node.outputs[0]) or ())))


def _regions(graph: ir.Graph) -> dict[ir.Node, frozenset[int]]:
    """Token-wise nodes, each with its per-token inputs, in graph order; only regions that contain a matrix product."""
    token_wise = {
        node: places
        for node in graph
        if stage_of(node) not in _RECTANGULAR_STAGES and (places := token_inputs(node)) is not None
    }
    kept: set[ir.Node] = set()
    for start in token_wise:
        if start.op_type != "MatMul" or start in kept:
            continue
        pending = [start]
        while pending:
            node = pending.pop()
            if node not in kept:
                kept.add(node)
                pending += [near for near in (*node.predecessors(), *node.successors()) if near in token_wise]
    return {node: places for node, places in token_wise.items() if node in kept}


class _Packing:
    """Appends the nodes that pack and unpack, once per tensor; the pass then sorts the graph."""

    def __init__(self, graph: ir.Graph, *, as_input: bool) -> None:
        self._graph = graph
        self._as_input = as_input
        self._stage = Stage(graph, _STAGE)
        self._mask = next(value for value in graph.inputs if value.name == ATTENTION_MASK)
        self._packed: dict[tuple[ir.Value, Dims], ir.Value] = {}
        self._unpacked: dict[ir.Value, ir.Value] = {}
        self.packs = self.unpacks = 0

    def pack(self, value: ir.Value, dims: Dims) -> ir.Value:
        """`value`, which broadcasts to `dims` [batch or 1, seq or 1, ...], packed to [1, tokens, ...]."""
        key = value, dims[:2]
        if key not in self._packed:
            self.packs += 1
            match dims[:2]:
                case (1, _):
                    index = self._column
                case (_, 1):
                    index = self._text
                case _:
                    index = self.positions
            self._packed[key] = self._gather(value, dims[2:], index, (1, TOKENS))
        return self._packed[key]

    def unpack_for(self, reader: ir.Node, place: int, value: ir.Value) -> None:
        """Give `reader` the value unpacked to [batch, seq, ...]; if it selects one row, gather that row directly."""
        dims = dims_of(value)
        assert dims is not None
        if reader.op_type == "GatherND" and stage_of(reader) == "row" and place == 0:
            slot = self._stage.op(
                "GatherND", self.slots, reader.inputs[1], batch_dims=1, dtype=_INT64, shape=ir.Shape([BATCH])
            )
            reader.outputs[0].replace_all_uses_with(self._gather(value, dims[2:], slot, (BATCH,)))
            self._graph.remove(reader, safe=True)
            return
        if value not in self._unpacked:
            self.unpacks += 1
            self._unpacked[value] = self._gather(value, dims[2:], self.slots, (BATCH, SEQ))
        reader.replace_input_with(place, self._unpacked[value])

    @cached_property
    def positions(self) -> ir.Value:
        """Indices of the tokens in the flattened batch, int64 [1, tokens], rising."""
        if not self._as_input:
            return self._stage.op("NonZero", self._is_token, dtype=_INT64, shape=ir.Shape([1, TOKENS]))
        given = ir.Value(name=TOKEN_POSITIONS, type=ir.TensorType(_INT64), shape=ir.Shape([1, TOKENS]))
        self._graph.inputs.append(given)
        return given

    @cached_property
    def slots(self) -> ir.Value:
        """The index of the packed token at each position, or of the last token before padding, int64 [batch, seq]."""
        op, constant = self._stage.op, self._stage.constant
        number = op("Cast", self._is_token, to=_INT64, dtype=_INT64)
        until = op("CumSum", number, constant("axis", 0, np.int64), dtype=_INT64)
        flat = op("Sub", until, constant("one", 1, np.int64), dtype=_INT64)
        shape = op("Shape", self._mask, dtype=_INT64, shape=ir.Shape([2]))
        return op("Reshape", flat, shape, dtype=_INT64, shape=ir.Shape([BATCH, SEQ]))

    @cached_property
    def _is_token(self) -> ir.Value:
        """Whether each position of the flattened batch is a token, bool [batch * seq]; true for the first."""
        op, axes = self._stage.op, self._stage.axes
        flat = op("Reshape", self._mask, axes(-1), dtype=_INT64)
        rest = op("Slice", flat, axes(1), axes(_END), axes(0), dtype=_INT64)
        forced = op("Concat", axes(1), rest, axis=0, dtype=_INT64)
        return op("Cast", forced, to=ir.DataType.BOOL, dtype=ir.DataType.BOOL)

    @cached_property
    def _seq(self) -> ir.Value:
        return self._stage.op("Shape", self._mask, start=1, end=2, dtype=_INT64, shape=ir.Shape([1]))

    @cached_property
    def _column(self) -> ir.Value:
        """The position of each token in its text, int64 [1, tokens]."""
        return self._stage.op("Mod", self.positions, self._seq, dtype=_INT64, shape=ir.Shape([1, TOKENS]))

    @cached_property
    def _text(self) -> ir.Value:
        """The index of the text of each token, int64 [1, tokens]."""
        return self._stage.op("Div", self.positions, self._seq, dtype=_INT64, shape=ir.Shape([1, TOKENS]))

    def _gather(self, value: ir.Value, rest: Dims, index: ir.Value, front: Dims) -> ir.Value:
        """Flatten the leading axes of `value` [..., *rest] and gather rows by `index` [*front]: [*front, *rest]."""
        dtype = value.dtype
        assert dtype is not None
        numbers = [dim for dim in rest if isinstance(dim, int)]
        flat = self._stage.op(
            "Reshape", value, self._stage.axes(-1, *numbers), dtype=dtype, shape=ir.Shape([None, *rest])
        )
        return self._stage.op("Gather", flat, index, axis=0, dtype=dtype, shape=ir.Shape([*front, *rest]))


_INT64 = ir.DataType.INT64
_END = np.iinfo(np.int64).max
