"""Let positions, and whatever else is computed from the ids, see the padding's id wherever the mask is 0.

Independent of architectures: only the look-up of a row of a table for each id, and shapes, read the ids themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from graphs.ir.dims import BATCH, SEQ, dims_of
from graphs.ir.movement import LAYOUT
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS
from graphs.ir.stage import Stage, stage_of

_STAGE = "ids"
_PASSED_ON = LAYOUT | {"Cast"}
_LOOKS_UP = {"Gather": 1, "EmbedLayerNormalization": 0}
"""Operator -> which of its inputs are ids that it looks up in a table."""


class IdsOfTokensPass(ir.passes.InPlacePass):
    """Where ids are compared or counted, as RoBERTa's positions count those that are no padding, take masked ones out.

    Before: input_ids -> Equal(pad) -> Not -> CumSum -> positions
    After:  Where(attention_mask, input_ids, pad) -> Equal(pad) -> Not -> CumSum -> positions

    Requires: inputs input_ids and attention_mask, [batch, seq].
    Ensures: nothing changes for ids that are `pad_token_id` wherever the mask is 0, as the tokeniser pads; other ids
        there no longer move the positions of tokens. A look-up stays as it is, since it is for the mask to say whether
        attention sees what it gives, and so does a graph of look-ups alone. A second application changes nothing.
    Numerics: exact.
    Source: transformers, `create_position_ids_from_input_ids`.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without ids or mask."""
        names = {value.name for value in model.graph.inputs}
        if missing := {INPUT_IDS, ATTENTION_MASK} - names:
            raise ir.passes.PreconditionError(f"masked ids need the inputs {INPUT_IDS} and {ATTENTION_MASK}; {missing}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert one Where in front of all that compares or counts ids."""
        graph = model.graph
        ids, mask = (next(v for v in graph.inputs if v.name == name) for name in (INPUT_IDS, ATTENTION_MASK))
        readers = list(_readers(ids))
        if not readers:
            return ir.passes.PassResult(model, modified=False)
        stage = Stage(graph, _STAGE)
        is_token = stage.op("Cast", mask, to=ir.DataType.BOOL, dtype=ir.DataType.BOOL, shape=mask.shape)
        shown: dict[ir.Value, ir.Value] = {}
        for value, node, place in readers:
            if value not in shown:
                dtype = value.dtype or ir.DataType.INT64
                pad = stage.constant(f"pad_{dtype.name.lower()}", self.pad_token_id, dtype.numpy())
                shown[value] = stage.op("Where", is_token, value, pad, dtype=dtype, shape=value.shape)
            node.replace_input_with(place, shown[value])
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def _readers(ids: ir.Value) -> Iterator[tuple[ir.Value, ir.Node, int]]:
    """What does more with ids than look them up: the ids [batch, seq] as it reads them, the node, the place."""
    for node, place in ids.uses():
        if node.op_type in ("Shape", "Size") or _LOOKS_UP.get(node.op_type) == place or stage_of(node) == _STAGE:
            continue
        behind = list(_readers(node.outputs[0])) if node.op_type in _PASSED_ON and place == 0 else None
        if behind is None:
            yield ids, node, place
        elif dims_of(node.outputs[0]) == (BATCH, SEQ):
            yield from behind
        elif behind:
            yield ids, node, place
