"""Replace each attention mask by one canonical additive mask, computed once for all layers.

`mask_form` finds the meaning of a mask; this pass writes it in the one form that ONNX Runtime, OpenVINO and TensorRT
all compute and fuse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphs.ir.dims import BATCH, SEQ, dims_of
from graphs.ir.masks import MaskForm, additive, bands
from graphs.ir.names import ATTENTION_MASK
from graphs.ir.stage import Stage, stage_of
from graphs.mask.mask_form import find_form
from graphs.mask.mask_program import MaskProgram
from graphs.mask.mask_readers import MaskUse, mask_uses, mask_values

_STAGE = "mask"


@dataclass(frozen=True)
class CanonicalMask:
    """A mask that was replaced: the name of its value, its form, and the number of nodes that read it."""

    value: str
    form: MaskForm
    readers: int


class CanonicalMaskPass(ir.passes.InPlacePass):
    """Rewrite the masks of all layers as additive masks, one for each distinct form.

    Before: Range, GatherND, And, ... -> bool [batch, 1, seq, seq] -> Attention; Where(mask, scores, -large) -> Softmax
    After:  Where(mask, 0, -large) -> float [batch, 1, 1, seq], or [batch, 1, seq, seq] where positions matter;
            -> Expand -> Attention; Add(scores, mask) -> Softmax

    Requires: shapes inferred (`cleanup`); an input attention_mask int64 [batch, seq]; no pooling yet, since the pooling
        reads the mask too.
    Ensures: all recognised masks share the nodes that read attention_mask. Masks that are not recognised stay, and
        `unrecognised` lists them.
    Numerics: exact for every query that may attend to a key. A query that may attend to none gets the mean over all
        keys instead of NaN or zeros; its output is never read, since it is padding or sees only padding.
    Source: ONNX, `Attention`; NVIDIA, fused attention takes an additive mask in the dtype of the scores.

    After a run, `masks` and `unrecognised` list the masks.
    """

    def __init__(self) -> None:
        self.masks: tuple[CanonicalMask, ...] = ()
        self.unrecognised: tuple[str, ...] = ()

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without an input attention_mask of two axes."""
        mask = next((value for value in model.graph.inputs if value.name == ATTENTION_MASK), None)
        if mask is None:
            raise ir.passes.PreconditionError(f"a canonical mask needs an input {ATTENTION_MASK}; the graph has none")
        if len(dims_of(mask) or ()) != 2:
            raise ir.passes.PreconditionError(
                f"a canonical mask needs {ATTENTION_MASK} [batch, seq], got {dims_of(mask)}"
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Find the masks, then replace them."""
        graph = model.graph
        recognised: list[tuple[ir.Value, MaskForm, list[MaskUse]]] = []
        unrecognised: list[str] = []
        for value in mask_values(graph):
            if _is_canonical(value):
                continue  # a second run changes nothing
            for switches_off in (False, True):
                uses = [use for use in mask_uses(value) if use.switches_off == switches_off]
                form = None
                if uses and all(use.replaceable for use in uses):
                    form = find_form(MaskProgram(graph, value, inverted=switches_off))
                if form is not None:
                    recognised.append((value, form, uses))
                elif uses:
                    unrecognised.append(value.name or "")
        if recognised:
            # After the search, so that every subgraph was evaluated as the exporter wrote it.
            writer = _Writer(graph)
            for _, form, readers in recognised:
                for reader in readers:
                    _replace(graph, reader, writer, form)
            graph.sort()
        self.masks = tuple(CanonicalMask(value.name or "", form, len(readers)) for value, form, readers in recognised)
        self.unrecognised = tuple(unrecognised)
        return ir.passes.PassResult(model, modified=bool(recognised))


def _is_canonical(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and stage_of(producer) == _STAGE


def _replace(graph: ir.Graph, use: MaskUse, writer: _Writer, form: MaskForm) -> None:
    node, place = use
    if node.op_type == "Attention":
        node.replace_input_with(place, writer.whole(form))
        return
    if node.op_type == "Add":
        node.replace_input_with(place, writer.additive(form))
        return
    fill = use.fill
    assert fill is not None
    scores = node.inputs[3 - fill]
    output = node.outputs[0]
    added = ir.Value(name=f"{output.name}.masked", type=ir.TensorType(ir.DataType.FLOAT), shape=output.shape)
    add = ir.Node("", "Add", [scores, writer.additive(form)], outputs=[added], name=f"{node.name}.masked")
    graph.insert_before(node, add)
    output.replace_all_uses_with(added)
    graph.remove(node, safe=True)


class _Writer:
    """Appends the nodes of each form once; the pass then sorts the graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._stage = Stage(graph, _STAGE)
        self._mask = next(value for value in graph.inputs if value.name == ATTENTION_MASK)
        self._additive: dict[MaskForm, ir.Value] = {}
        self._whole: dict[MaskForm, ir.Value] = {}

    def additive(self, form: MaskForm) -> ir.Value:
        """0 where a query may attend and half the lowest number elsewhere, float32 [batch, 1, 1 or seq, seq]."""
        if form not in self._additive:
            op, axes = self._stage.op, self._stage.axes
            token = op("Cast", self._mask, to=ir.DataType.BOOL, dtype=ir.DataType.BOOL, shape=ir.Shape([BATCH, SEQ]))
            allowed = op("Unsqueeze", token, axes(1, 2), dtype=ir.DataType.BOOL, shape=ir.Shape([BATCH, 1, 1, SEQ]))
            for band in self._bands(form):
                allowed = op("And", band, allowed, dtype=ir.DataType.BOOL, shape=_WHOLE)
            if form.query_too:
                query = op("Unsqueeze", token, axes(1, 3), dtype=ir.DataType.BOOL, shape=ir.Shape([BATCH, 1, SEQ, 1]))
                allowed = op("And", query, allowed, dtype=ir.DataType.BOOL, shape=_WHOLE)
            self._additive[form] = additive(self._stage, form, allowed)
        return self._additive[form]

    def whole(self, form: MaskForm) -> ir.Value:
        """The same mask as float32 [batch, 1, seq, seq], since ONNX Runtime's Attention does not broadcast axis 2."""
        if form.by_position or form.query_too:
            return self.additive(form)
        if form not in self._whole:
            op = self._stage.op
            batch = op("Shape", self._mask, start=0, end=1, dtype=ir.DataType.INT64, shape=ir.Shape([1]))
            seq = op("Shape", self._mask, start=1, end=2, dtype=ir.DataType.INT64, shape=ir.Shape([1]))
            target = op(
                "Concat", batch, self._stage.axes(1), seq, seq, axis=0, dtype=ir.DataType.INT64, shape=ir.Shape([4])
            )
            self._whole[form] = op("Expand", self.additive(form), target, shape=_WHOLE)
        return self._whole[form]

    def _bands(self, form: MaskForm) -> list[ir.Value]:
        """The conditions of the form on positions, bool [seq, seq] each."""
        if not form.by_position:
            return []
        op, axes, constant = self._stage.op, self._stage.axes, self._stage.constant
        seq = op("Shape", self._mask, start=1, end=2, dtype=ir.DataType.INT64, shape=ir.Shape([1]))
        end = op("Squeeze", seq, axes(0), dtype=ir.DataType.INT64, shape=ir.Shape([]))
        ends = constant("start", 0, np.int64), end, constant("step", 1, np.int64)
        positions = op("Range", *ends, dtype=ir.DataType.INT64, shape=ir.Shape([SEQ]))
        query = op("Unsqueeze", positions, axes(1), dtype=ir.DataType.INT64, shape=ir.Shape([SEQ, 1]))
        return bands(self._stage, form, query, positions, ir.Shape([SEQ, SEQ]))


_WHOLE = ir.Shape([BATCH, 1, SEQ, SEQ])
