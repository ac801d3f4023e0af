"""Pick the pooled row before the last layer works on all the others, instead of after.

`cls` and `lasttoken` read one row of `last_hidden_state`. Whatever computes that row from one row of its inputs need
not compute the rest: the last layer's query, attention output, feed-forward and norms. Keys and values keep every
token. Ignorant of architectures: it follows the data.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import onnx_ir as ir

from graphs.constants import integers
from graphs.dims import BATCH, SEQ, Dims, dims_of, reshape_operand
from graphs.row_rules import row_inputs
from graphs.stage import Stage, stage_of

_STAGE = "row"


@dataclass(frozen=True)
class Stop:
    """A value of which every row is computed still, and the reason."""

    value: str
    why: str


@dataclass(frozen=True)
class PushDown:
    """How far the row was pushed down.

    nodes: how many nodes compute one row of each text and not all.
    attentions: how many of them are an attention: 1 where the push-down went through the last layer.
    stops: where it ended.
    """

    nodes: int
    attentions: int
    stops: tuple[Stop, ...]

    def describe(self) -> str:
        """How far it got and why it ended there, in a line."""
        stops = "; ".join(f"{stop.value}: {stop.why}" for stop in self.stops)
        if not self.nodes:
            return f"not moved: {stops}"
        through = "through the last attention" if self.attentions else "behind the last attention"
        return f"{self.nodes} nodes compute one row, {through}; whole are {stops}"


class PushDownRowPass(ir.passes.InPlacePass):
    """Move the pooling's GatherND from the end of the encoder to where the row's inputs are needed whole.

    Before: x -> Q, K, V -> Attention -> MatMul -> Add(x) -> norm -> feed-forward -> norm -> GatherND(row)
    After:  x -> K, V; x -> GatherND(row) -> Q -> Attention -> MatMul -> Add -> norm -> feed-forward -> norm

    Requires: `cls` or `lasttoken` folded in (`fold_pooling`), shapes inferred (`cleanup`); raised where the picked row
        is no row of a [batch, seq, hidden] tensor.
    Ensures: moved nodes have 1 in place of seq; the vectors are the same on either padding side and for any mask. A
        second application finds the row at the top already and changes nothing. Where another reader needs every row,
        such as a further pooling mode, nothing moves and `result` says why.
    Numerics: exact; a matrix product of fewer rows may sum in another order.
    Source: ONNX Runtime's compute optimizer, "upstream gather", for training graphs.

    After a run, `result` says how far it got.
    """

    def __init__(self) -> None:
        self.result = PushDown(0, 0, ())

    def requires(self, model: ir.Model) -> None:
        """Refuse a pooling whose row is not picked out of token vectors."""
        for pick in _picks(model.graph):
            data, index = dims_of(pick.inputs[0]), dims_of(pick.inputs[1])
            batch_dims = pick.attributes.get("batch_dims")
            if data is None or len(data) != 3 or data[:2] != (BATCH, SEQ) or index is None or index[-1:] != (1,):
                raise ir.passes.PreconditionError(
                    f"push-down needs GatherND of one row of [batch, seq, hidden], got {data} by index {index}"
                )
            if batch_dims is None or batch_dims.as_int() != 1:
                raise ir.passes.PreconditionError(f"push-down needs batch_dims 1, got {batch_dims}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Find out what one row takes, then rewrite."""
        graph = model.graph
        picks = _picks(graph)
        if len(picks) != 1:
            moved = any(stage_of(node) == _STAGE for node in graph)
            why = "one row is computed already" if moved else "the pooling reads every row"
            why = "the pooling picks several rows" if picks else why
            self.result = PushDown(0, 0, (Stop("last_hidden_state", why),))
            return ir.passes.PassResult(model, modified=False)
        plan = _plan(graph, picks[0])
        if plan.moved:
            _rewrite(graph, picks[0], plan)
        attentions = sum(node.op_type in ("Attention", "Softmax") for node in plan.moved)
        self.result = PushDown(len(plan.moved), attentions, tuple(plan.stops()))
        return ir.passes.PassResult(model, modified=bool(plan.moved))


def _picks(graph: ir.Graph) -> list[ir.Node]:
    """The nodes by which the pooling picks rows of the encoder's output."""
    return [node for node in graph if node.op_type == "GatherND" and stage_of(node) == "pooling"]


@dataclass
class _Plan:
    """What is wanted of each value, and what follows for each node.

    wanted: value -> axes along which one row of it is enough for some reader.
    whole: values of which some reader needs all, and one such reader.
    moved: node -> axis of its outputs along which it will compute one row.
    blocked: node -> why it cannot.
    """

    wanted: dict[ir.Value, set[int]] = field(default_factory=lambda: defaultdict(set))
    whole: dict[ir.Value, ir.Node | None] = field(default_factory=dict)
    moved: dict[ir.Node, int] = field(default_factory=dict)
    blocked: dict[ir.Node, str] = field(default_factory=dict)

    def picked(self) -> list[tuple[ir.Value, int]]:
        """Values of which a row is taken out, each with its axis: those that are there whole."""
        return [
            (value, axis) for value, axes in self.wanted.items() for axis in axes if value.producer() not in self.moved
        ]

    def stops(self) -> list[Stop]:
        """Why each of these is there whole."""
        found = []
        for value, axis in self.picked():
            if _repeats_one_row(value, axis):
                continue
            producer, reader = value.producer(), self.whole.get(value)
            if reader is not None:
                why = f"{reader.op_type} {reader.name} reads every row"
            elif producer is None:
                why = "it is an input"
            else:
                why = self.blocked.get(producer, "it is the same for every text")
            found.append(Stop(value.name or "", why))
        return found


def _plan(graph: ir.Graph, pick: ir.Node) -> _Plan:
    """Ask again with one more node blocked, until every row that is wanted can be had."""
    blocked: dict[ir.Node, str] = {}
    while True:
        plan = _demand(graph, pick, blocked)
        wrong = {
            reader: f"a row of its input {value.name} {list(dims_of(value) or ())} cannot be picked"
            for value, axis in plan.picked()
            if not _can_pick(value, axis)
            for reader in value.consumers()
            if reader in plan.moved
        }
        if not wrong:
            return plan
        blocked |= wrong


def _demand(graph: ir.Graph, pick: ir.Node, blocked: dict[ir.Node, str]) -> _Plan:
    """Go from the outputs to the inputs: every reader of a value has said what it needs before the value is met."""
    plan = _Plan(blocked=dict(blocked))
    plan.whole.update(dict.fromkeys(graph.outputs))
    for node in reversed(graph):
        if node is pick:
            data, index = node.inputs[0], node.inputs[1]
            assert data is not None and index is not None
            plan.wanted[data].add(1)
            plan.whole[index] = node
            continue
        rows = _rows_of(node, plan)
        for place, value in enumerate(node.inputs):
            if value is None:
                continue
            if rows is not None and place in rows:
                plan.wanted[value].add(rows[place])
            elif rows is None or value.const_value is None:
                plan.whole.setdefault(value, node)
    return plan


def _rows_of(node: ir.Node, plan: _Plan) -> dict[int, int] | None:
    """Which rows of which inputs the node needs; None where it computes everything."""
    used = [value for value in node.outputs if value in plan.wanted or value in plan.whole]
    axes = {axis for value in used for axis in plan.wanted.get(value, ())}
    if len(axes) != 1 or any(value in plan.whole for value in used) or node in plan.blocked:
        return None
    axis = axes.pop()
    if any((dims_of(value) or (None,))[0] != BATCH for value in used):
        return None
    rows = row_inputs(node, axis)
    if isinstance(rows, dict) and node.op_type == "Reshape":
        source, target = dims_of(node.inputs[0]), dims_of(node.outputs[0])
        assert source is not None and target is not None
        if reshape_operand(_one(source, rows[0]), _one(target, axis)) is None:
            rows = "no constant says the shape of one row"
    if isinstance(rows, str):
        plan.blocked[node] = rows
        return None
    plan.moved[node] = axis
    return rows


def _one(dims: Dims, axis: int) -> Dims:
    return (*dims[:axis], 1, *dims[axis + 1 :])


def _repeats_one_row(value: ir.Value, axis: int) -> ir.Value | None:
    """The one row that a value repeats along an axis, such as the canonical mask; None where it does not."""
    producer, dims = value.producer(), dims_of(value)
    if producer is None or producer.op_type != "Expand" or dims is None:
        return None
    return producer.inputs[0] if dims_of(producer.inputs[0]) == _one(dims, axis) else None


def _can_pick(value: ir.Value, axis: int) -> bool:
    """Whether one row for each text can be taken out: the batch comes first, or the value has none."""
    dims = dims_of(value)
    return dims is not None and axis > 0 and dims[axis] == SEQ and dims[0] in (BATCH, 1) and BATCH not in dims[1:]


def _rewrite(graph: ir.Graph, pick: ir.Node, plan: _Plan) -> None:
    index = pick.inputs[1]
    assert index is not None
    picker = _Picker(Stage(graph, _STAGE), index)
    taken = {(value, axis): picker.pick(value, axis) for value, axis in plan.picked()}
    for node, axis in plan.moved.items():
        rows = row_inputs(node, axis)
        assert isinstance(rows, dict)
        for place, row_axis in rows.items():
            value = node.inputs[place]
            assert value is not None
            if (value, row_axis) in taken:
                node.replace_input_with(place, taken[value, row_axis])
    for node, axis in plan.moved.items():
        _narrow(graph, node, axis)
    # What is left of the pooling's own pick: the one row, without its axis.
    data = pick.inputs[0]
    assert data is not None
    row = taken.get((data, 1), data)
    output = pick.outputs[0]
    squeezed = ir.Value(name=f"{output.name}.row", type=output.type, shape=output.shape)
    node = ir.node("Squeeze", [row, integers(graph, [1])], outputs=[squeezed], name=f"{pick.name}.row")
    node.metadata_props.update(pick.metadata_props)
    graph.insert_before(pick, node)
    output.replace_all_uses_with(squeezed)
    graph.remove(pick, safe=True)
    graph.sort()


def _narrow(graph: ir.Graph, node: ir.Node, axis: int) -> None:
    """Say 1 where the node said seq."""
    for value in node.outputs:
        dims = dims_of(value)
        assert dims is not None
        value.shape = ir.Shape(_one(dims, axis))
    source, target = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    assert source is not None and target is not None
    if node.op_type == "Reshape":
        operand = reshape_operand(source, target)
        assert operand is not None
        node.attributes.pop("allowzero", None)
        node.replace_input_with(1, integers(graph, operand))
    elif node.op_type == "Expand":
        repeats = [b if a != b and isinstance(b, int) else 1 for a, b in zip(source, target, strict=True)]
        node.replace_input_with(1, integers(graph, repeats))


class _Picker:
    """Takes one row out of whole values. Nodes are appended; the pass sorts the graph."""

    def __init__(self, stage: Stage, index: ir.Value) -> None:
        self._stage = stage
        self._index = index

    def pick(self, value: ir.Value, axis: int) -> ir.Value:
        """One row of each text: [batch, ..., 1 along `axis`, ...]."""
        dims = dims_of(value)
        assert dims is not None
        repeated = _repeats_one_row(value, axis)
        if repeated is not None:
            return repeated
        return self._of_batch(value, dims, axis) if dims[0] == BATCH else self._of_all(value, dims, axis)

    def _of_batch(self, value: ir.Value, dims: Dims, axis: int) -> ir.Value:
        op, dtype = self._stage.op, value.dtype
        assert dtype is not None
        others = [place for place in range(1, len(dims)) if place != axis]
        rest = [dims[place] for place in others]
        if axis != 1:
            value = op("Transpose", value, perm=[0, axis, *others], dtype=dtype, shape=ir.Shape([BATCH, SEQ, *rest]))
        picked = op("GatherND", value, self._index, batch_dims=1, dtype=dtype, shape=ir.Shape([BATCH, *rest]))
        return op("Unsqueeze", picked, self._stage.axes(axis), dtype=dtype, shape=ir.Shape(_one(dims, axis)))

    def _of_all(self, value: ir.Value, dims: Dims, axis: int) -> ir.Value:
        """Of a value that is the same for every text; the batch comes in with the rows."""
        op, dtype = self._stage.op, value.dtype
        assert dtype is not None
        index = op("Squeeze", self._index, self._stage.axes(1), dtype=ir.DataType.INT64, shape=ir.Shape([BATCH]))
        gathered = (*dims[:axis], BATCH, *dims[axis + 1 :])
        picked = op("Gather", value, index, axis=axis, dtype=dtype, shape=ir.Shape(gathered))
        swapped = list(range(len(dims)))
        swapped[0], swapped[axis] = axis, 0
        shape = ir.Shape((BATCH, *_one(dims, axis)[1:]))
        return op("Transpose", picked, perm=swapped, dtype=dtype, shape=shape)
