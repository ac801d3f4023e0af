"""Compute attention of long texts in slices of queries, each against the keys that one of them may attend to.

An attention over all queries at once holds a score for each pair of tokens, and most of them are hidden where a window
or causality limits the keys. Independent of architectures: the canonical masks tell what each query may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from graphs.attention.attentions import attentions, like, replace
from graphs.attention.sliced_queries import SlicedQueries, subgraph
from graphs.ir.dims import BATCH, dims_of
from graphs.ir.masks import MaskForm, WrittenMask
from graphs.ir.names import INPUT_IDS
from graphs.ir.stage import Stage

_STAGE = "slices"
_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL


@dataclass(frozen=True)
class Sliced:
    """How many attentions are sliced, and why the others are not: reason -> how many."""

    attentions: int
    whole: Mapping[str, int]

    def describe(self) -> str:
        """In one line."""
        others = "; ".join(f"{count} whole: {why}" for why, count in self.whole.items())
        return f"attentions in slices of queries: {self.attentions}" + (f"; {others}" if others else "")


class SlicedAttentionPass(ir.passes.InPlacePass):
    """Slice the queries of each Attention where a batch is longer than `whole_up_to` tokens.

    Before: Attention(Q [batch, heads, seq, head], K, V, mask [batch, 1, seq, seq])
    After:  If(seq > whole_up_to)
              then Loop over slices: Attention(Q[a:b], K[from:to], V[from:to], mask of these), concatenated
              else Attention(Q, K, V, mask), whose mask is computed in a branch of an If alike

    A slice takes the keys from its first query's window to its last query's: all of them, those up to its end where
    the mask is causal, or its own and a window on either side.

    Requires: canonical masks (`canonical_mask`), shapes inferred; the last pass that looks at attention.
    Ensures: beyond `whole_up_to` no value has two axes of the length, but for attentions that stay whole (`result`).
        The branches hold no weight.
    Numerics: exact: a softmax over the scores that the mask leaves. Queries that are padding give other numbers, which
        nothing reads.
    Source: FlashAttention's tiling over queries, in standard operators; sliding windows of Longformer.

    After a run, `result` says what was sliced.
    """

    def __init__(self, whole_up_to: int, size: int) -> None:
        """Prepare a run.

        Args:
            whole_up_to: tokens of the longest batch that is computed at once.
            size: queries in a slice.
        """
        self.whole_up_to = whole_up_to
        self.size = size
        self.result = Sliced(0, {})

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Attention over a canonical mask."""
        graph = model.graph
        all_of = attentions(graph)
        found, whole = all_of.found, all_of.whole
        if found:
            self._rewrite(graph, found)
            graph.sort()
            common.RemoveUnusedNodesPass()(model)
        self.result = Sliced(len(found), whole)
        return ir.passes.PassResult(model, modified=bool(found))

    def _rewrite(self, graph: ir.Graph, found: Sequence[tuple[ir.Node, WrittenMask]]) -> None:
        stage = Stage(graph, _STAGE)
        ids = next(value for value in graph.inputs if value.name == INPUT_IDS)
        seq = stage.op("Shape", ids, start=1, end=2, dtype=_INT64, shape=ir.Shape([1]))
        beyond = stage.op("Greater", seq, stage.axes(self.whole_up_to), dtype=_BOOL, shape=ir.Shape([1]))
        long = stage.op("Squeeze", beyond, stage.axes(0), dtype=_BOOL, shape=ir.Shape([]))
        dense: dict[ir.Value, ir.Value] = {}
        slices: dict[tuple[MaskForm, ir.Value], SlicedQueries] = {}
        for number, (node, mask) in enumerate(found):
            value, name = node.inputs[3], f"{_STAGE}.{number}"
            assert value is not None
            if value not in dense:
                dense[value] = _only_if_short(stage, long, value, f"{_STAGE}.mask_{len(dense)}")
            key = mask.form, mask.tokens
            if key not in slices:
                slices[key] = SlicedQueries(stage, mask, seq, self.size)
            short, sliced = (subgraph(f"{name}.{kind}", stage) for kind in ("whole", "sliced"))
            short.graph.outputs.append(like(short, node, *node.inputs[:3], dense[value], shape=node.outputs[0].shape))
            sliced.graph.outputs.append(slices[key].attend(sliced, node))
            replace(graph, node, _choose(stage, long, sliced, short, node.outputs[0].shape))


def _choose(stage: Stage, condition: ir.Value, then: Stage, otherwise: Stage, shape: ir.Shape | None) -> ir.Value:
    """If(condition, then, otherwise)."""
    made = stage.op("If", condition, shape=shape)
    node = made.producer()
    assert node is not None
    node.attributes.add(ir.AttrGraph("then_branch", then.graph))
    node.attributes.add(ir.AttrGraph("else_branch", otherwise.graph))
    return made


def _only_if_short(stage: Stage, long: ir.Value, mask: ir.Value, name: str) -> ir.Value:
    """A mask [batch, 1, seq, seq] where a batch is short; one number where it is long, which nothing reads."""
    none, whole = subgraph(f"{name}.none", stage), subgraph(f"{name}.whole", stage)
    none.graph.outputs.append(none.op("Identity", stage.constant("none", [[[[0.0]]]]), shape=ir.Shape([1, 1, 1, 1])))
    copies: dict[ir.Value, ir.Value] = {}
    for node in _square_nodes(mask):
        old = node.outputs[0]
        assert old.dtype is not None
        inputs = [None if value is None else copies.get(value, value) for value in node.inputs]
        copies[old] = whole.op(node.op_type, *inputs, dtype=old.dtype, shape=old.shape)
        producer = copies[old].producer()
        assert producer is not None
        producer.attributes.update(node.attributes)
    whole.graph.outputs.append(copies[mask])
    return _choose(stage, long, none, whole, mask.shape)


def _square_nodes(mask: ir.Value) -> list[ir.Node]:
    """The nodes that compute a mask for each pair of tokens, inputs first."""
    found: dict[ir.Node, None] = {}
    pending = [mask]
    while pending:
        node = pending.pop().producer()
        lengths = (
            [] if node is None else [d for d in dims_of(node.outputs[0]) or () if isinstance(d, str) and d != BATCH]
        )
        if node is not None and len(lengths) > 1:
            found.pop(node, None)  # moved behind what reads it
            found[node] = None
            pending += [value for value in node.inputs if value is not None]
    return list(reversed(found))
