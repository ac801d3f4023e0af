"""What an attention mask says: its form, written as an additive mask of positions, and read again.

The node that writes a mask carries its form, since other passes move and cut masks. Independent of who writes one.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from graphs.ir.dims import dims_of
from graphs.ir.names import INPUT_IDS
from graphs.ir.stage import FORM_KEY, Stage, stage_of

_INT64, _BOOL = ir.DataType.INT64, ir.DataType.BOOL


@dataclass(frozen=True)
class MaskForm:
    """Query i may attend to key j where key j is a token and `-ahead <= i - j <= behind`.

    behind, ahead: in positions; None means no limit, and ahead = 0 is causal.
    query_too: query i must be a token as well.
    """

    behind: int | None
    ahead: int | None
    query_too: bool

    @property
    def by_position(self) -> bool:
        """Whether the form depends on positions, and not only on which keys are tokens."""
        return self.behind is not None or self.ahead is not None

    def allowed(self, mask: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The form applied to attention_mask [batch, seq]: bool [batch, seq, seq]."""
        tokens, length = mask > 0, mask.shape[1]
        allowed = np.broadcast_to(tokens[:, None, :], (*mask.shape, length)).copy()
        if self.behind is not None:
            allowed &= ~np.tri(length, k=-self.behind - 1, dtype=np.bool_)
        if self.ahead is not None:
            allowed &= np.tri(length, k=self.ahead, dtype=np.bool_)
        return allowed & tokens[:, :, None] if self.query_too else allowed


def bands(stage: Stage, form: MaskForm, query: ir.Value, keys: ir.Value, shape: ir.Shape) -> list[ir.Value]:
    """The conditions of a form on positions, bool `shape` each; none where it depends on no position.

    Args:
        stage: where they are written.
        form: of the mask.
        query, keys: positions, int64; they broadcast to `shape`, [..., queries, keys].
        shape: of the conditions.
    """
    op, conditions = stage.op, []
    if form.behind is not None:
        limit = stage.constant(f"behind_{form.behind}", form.behind, np.int64)
        distance = op("Sub", query, keys, dtype=_INT64, shape=shape)
        conditions.append(op("LessOrEqual", distance, limit, dtype=_BOOL, shape=shape))
    if form.ahead is not None:
        limit = stage.constant(f"ahead_{form.ahead}", form.ahead, np.int64)
        distance = op("Sub", keys, query, dtype=_INT64, shape=shape)
        conditions.append(op("LessOrEqual", distance, limit, dtype=_BOOL, shape=shape))
    return conditions


def additive(stage: Stage, form: MaskForm, allowed: ir.Value) -> ir.Value:
    """0 where a query may attend to a key and half the lowest number elsewhere: bool -> float32, of the same shape."""
    zero = stage.constant("zero", 0.0)
    # Half the lowest number, for two reasons. The sum of two masks stays finite. And the constant differs from
    # the one of max pooling: cleanup would merge equal constants, and the fp16 rules clamp only this one.
    hidden = stage.constant("hidden", np.finfo(np.float32).min / 2)
    mask = stage.op("Where", allowed, zero, hidden, shape=allowed.shape)
    node = mask.producer()
    assert node is not None
    node.metadata_props[FORM_KEY] = json.dumps(astuple(form))
    return mask


@dataclass(frozen=True, eq=False)
class WrittenMask:
    """What a mask [batch, 1, queries, keys] says.

    form: of positions. Behind a prompt the queries are the last ones of the keys.
    tokens: int64 [batch, keys], 0 on padding.
    """

    form: MaskForm
    tokens: ir.Value


def read_mask(value: ir.Value | None) -> WrittenMask | None:
    """What a canonical mask says, expanded or cut to the queries behind a prompt or not; None of any other value."""
    node = None if value is None else value.producer()
    while node is not None and (node.op_type, stage_of(node)) in (("Expand", "mask"), ("Slice", "prompt")):
        node = _producer(node, 0)
    if node is None or FORM_KEY not in node.metadata_props:
        return None
    form = MaskForm(*json.loads(node.metadata_props[FORM_KEY]))
    # Where(allowed, ...), And(condition, allowed), Unsqueeze(Cast(tokens)), as `canonical_mask` writes them.
    below = _producer(node, 0)
    while below is not None and below.op_type in ("And", "Unsqueeze"):
        below = _producer(below, 1 if below.op_type == "And" else 0)
    if below is None or below.op_type != "Cast" or below.inputs[0] is None:
        return None
    return WrittenMask(form, below.inputs[0])


def key_tokens(stage: Stage, mask: WrittenMask) -> ir.Value:
    """Which keys are tokens, bool [batch, 1, 1, keys]."""
    batch, keys = dims_of(mask.tokens) or (None, None)
    token = stage.op("Cast", mask.tokens, to=_BOOL, dtype=_BOOL, shape=ir.Shape([batch, keys]))
    return stage.op("Unsqueeze", token, stage.axes(1, 2), dtype=_BOOL, shape=ir.Shape([batch, 1, 1, keys]))


def key_positions(stage: Stage, mask: WrittenMask) -> tuple[ir.Value, ir.Value]:
    """The keys' positions, int64 [keys], and that of the first query, int64 [1]: 0 but behind a prompt."""
    op, constant, axes = stage.op, stage.constant, stage.axes
    keys = (dims_of(mask.tokens) or (None, None))[1]
    count = op("Shape", mask.tokens, start=1, end=2, dtype=_INT64, shape=ir.Shape([1]))
    end = op("Squeeze", count, axes(0), dtype=_INT64, shape=ir.Shape([]))
    ends = constant("start", 0, np.int64), end, constant("step", 1, np.int64)
    positions = op("Range", *ends, dtype=_INT64, shape=ir.Shape([keys]))
    ids = next(value for value in stage.graph.inputs if value.name == INPUT_IDS)
    queries = op("Shape", ids, start=1, end=2, dtype=_INT64, shape=ir.Shape([1]))
    return positions, op("Sub", count, queries, dtype=_INT64, shape=ir.Shape([1]))


def mask_of_row(stage: Stage, mask: WrittenMask, row: ir.Value) -> ir.Value:
    """The mask of one query a text, int [batch, 1], counted from the first query: float32 [batch, 1, 1, keys].

    Whether the query is a token is not asked.
    """
    allowed = key_tokens(stage, mask)
    if mask.form.by_position:
        batch = (dims_of(mask.tokens) or (None,))[0]
        positions, first = key_positions(stage, mask)
        place = stage.op("Cast", row, to=_INT64, dtype=_INT64, shape=ir.Shape([batch, 1]))
        place = stage.op("Add", place, first, dtype=_INT64, shape=ir.Shape([batch, 1]))
        query = stage.op("Unsqueeze", place, stage.axes(1, 2), dtype=_INT64, shape=ir.Shape([batch, 1, 1, 1]))
        assert allowed.shape is not None
        for band in bands(stage, mask.form, query, positions, allowed.shape):
            allowed = stage.op("And", band, allowed, dtype=_BOOL, shape=allowed.shape)
    return additive(stage, mask.form, allowed)


def _producer(node: ir.Node, place: int) -> ir.Node | None:
    value = node.inputs[place]
    return None if value is None else value.producer()
