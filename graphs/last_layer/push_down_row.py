"""Select the row that the pooling reads before the last layer computes all rows, instead of after.

`cls` and `lasttoken` read one row of `last_hidden_state`. Operators that compute a row from one row of their inputs
need not compute the others: the last layer's query, attention output, feed-forward and norms. Keys and values keep
every token. Independent of architectures: the pass follows the data flow.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import onnx_ir as ir

from graphs.ir.constants import integers
from graphs.ir.dims import BATCH, SEQ, dims_of, reshape_operand
from graphs.ir.row_rules import row_inputs
from graphs.ir.stage import Stage, stage_of
from graphs.last_layer.row_picker import RowPicker, as_read, can_pick, one_row, repeated_row

_STAGE = "row"


@dataclass(frozen=True)
class Stop:
    """A value whose rows are all still computed, and the reason."""

    value: str
    why: str


@dataclass(frozen=True)
class PushDown:
    """How far the selection of the row was moved.

    nodes: the number of nodes that compute one row per text instead of all.
    attentions: the number of attentions among them; 1 where the selection moved in front of the last layer.
    stops: the values at which it stopped.
    """

    nodes: int
    attentions: int
    stops: tuple[Stop, ...]

    def describe(self) -> str:
        """How far the selection moved and why it stopped there, in one line."""
        stops = "; ".join(f"{stop.value}: {stop.why}" for stop in self.stops)
        if not self.nodes:
            return f"not moved: {stops}"
        through = "through the last attention" if self.attentions else "behind the last attention"
        return f"{self.nodes} nodes compute one row, {through}; whole are {stops}"


class PushDownRowPass(ir.passes.InPlacePass):
    """Move the pooling's GatherND from the end of the encoder to the values of which every row is needed.

    Before: x -> Q, K, V -> Attention -> MatMul -> Add(x) -> norm -> feed-forward -> norm -> GatherND(row)
    After:  x -> K, V; x -> GatherND(row) -> Q -> Attention -> MatMul -> Add -> norm -> feed-forward -> norm

    Requires: a pooling `cls` or `lasttoken` (`fold_pooling`), shapes inferred (`cleanup`). A GatherND that does not
        select a row of a [batch, seq, hidden] tensor is refused.
    Ensures: moved nodes have 1 instead of seq in their shapes; the vectors are the same for either padding side and any
        mask. A second application changes nothing. Where another reader needs every row, such as a second pooling mode,
        nothing is moved and `result` gives the reason.
    Numerics: exact; a matrix product of fewer rows may sum in another order.
    Source: ONNX Runtime's compute optimizer, "upstream gather", for training graphs.

    After a run, `result` says how far the selection moved.
    """

    def __init__(self) -> None:
        self.result = PushDown(0, 0, ())

    def requires(self, model: ir.Model) -> None:
        """Refuse a pooling that does not select a row of token vectors."""
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
        """Find the inputs that one row needs, then rewrite."""
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
        attentions = sum(_is_attention(node) for node in plan.moved)
        self.result = PushDown(len(plan.moved), attentions, tuple(plan.stops()))
        return ir.passes.PassResult(model, modified=bool(plan.moved))


def _is_attention(node: ir.Node) -> bool:
    """Whether the node is an Attention, or the Softmax over the keys of a decomposed one."""
    return node.op_type == "Attention" or (
        node.op_type == "Softmax" and (dims_of(node.outputs[0]) or ())[-1:] == (SEQ,)
    )


def _picks(graph: ir.Graph) -> list[ir.Node]:
    """The nodes with which the pooling selects rows of the encoder's output."""
    return [node for node in graph if node.op_type == "GatherND" and stage_of(node) == "pooling"]


@dataclass
class _Plan:
    """What readers need of each value, and what each node will compute.

    wanted: value -> axes along which one row of it is enough for some reader.
    whole: value -> a reader that needs every row; None where the value is an output of the graph.
    moved: node -> axis of its outputs along which it will compute one row.
    blocked: node -> the reason why it computes every row.
    """

    wanted: dict[ir.Value, set[int]] = field(default_factory=lambda: defaultdict(set))
    whole: dict[ir.Value, ir.Node | None] = field(default_factory=dict)
    moved: dict[ir.Node, int] = field(default_factory=dict)
    blocked: dict[ir.Node, str] = field(default_factory=dict)

    def picked(self) -> list[tuple[ir.Value, int]]:
        """Values from which a row is selected, each with its axis: those whose producer computes every row."""
        return [
            (value, axis) for value, axes in self.wanted.items() for axis in axes if value.producer() not in self.moved
        ]

    def stops(self) -> list[Stop]:
        """Why every row of each of these is still computed."""
        stops = []
        for value, axis in self.picked():
            if repeated_row(value, axis) is not None:
                continue
            producer = value.producer()
            if value in self.whole:
                why = _reads_whole(self.whole[value])
            elif producer is None:
                why = "it is an input"
            else:
                why = self.blocked.get(producer, "it is the same for every text")
            stops.append(Stop(value.name or "", why))
        return stops


def _reads_whole(reader: ir.Node | None) -> str:
    return "it is an output" if reader is None else f"{reader.op_type} {reader.name} reads every row"


def _plan(graph: ir.Graph, pick: ir.Node) -> _Plan:
    """Repeat, excluding nodes whose input row cannot be selected, until the plan is consistent."""
    blocked: dict[ir.Node, str] = {}
    while True:
        plan = _demand(graph, pick, blocked)
        wrong = {
            reader: f"a row of its input {value.name} {list(dims_of(value) or ())} cannot be picked"
            for value, axis in plan.picked()
            for reader in value.consumers()
            if reader in plan.moved and repeated_row(value, axis) is None
            if not can_pick(*as_read(reader, value, axis))
        }
        if not wrong:
            return plan
        blocked |= wrong


def _demand(graph: ir.Graph, pick: ir.Node, blocked: dict[ir.Node, str]) -> _Plan:
    """Visit the nodes from the outputs to the inputs: every reader of a value is visited before its producer."""
    plan = _Plan(blocked=dict(blocked))
    plan.whole.update(dict.fromkeys(graph.outputs))
    for node in reversed(graph):
        if node is pick:
            data, index = node.inputs[0], node.inputs[1]
            assert data is not None and index is not None
            plan.wanted[data].add(1)
            plan.whole[index] = node
            continue
        for made in node.outputs:
            # A branch or a loop may read the value in its subgraph; then it is not an input of the node in this graph.
            plan.whole.update((made, reader) for reader in made.consumers() if reader.graph is not graph)
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
    """Input index -> axis of the one row that the node needs of it; None where the node computes every row."""
    used = [value for value in node.outputs if value in plan.wanted or value in plan.whole]
    axes = {axis for value in used for axis in plan.wanted.get(value, ())}
    if not axes or node in plan.blocked or any((dims_of(value) or (None,))[0] != BATCH for value in used):
        return None
    if whole := [value for value in used if value in plan.whole]:
        plan.blocked[node] = f"of {whole[0].name}: {_reads_whole(plan.whole[whole[0]])}"
        return None
    if len(axes) > 1:
        plan.blocked[node] = f"rows are wanted along several axes, {sorted(axes)}"
        return None
    axis = axes.pop()
    if repeated_row(used[0], axis) is not None:
        return None
    rows = row_inputs(node, axis)
    if isinstance(rows, dict) and node.op_type == "Reshape":
        source, target = dims_of(node.inputs[0]), dims_of(node.outputs[0])
        assert source is not None and target is not None
        if reshape_operand(one_row(source, rows[0]), one_row(target, axis)) is None:
            rows = "no constant says the shape of one row"
    if isinstance(rows, str):
        plan.blocked[node] = rows
        return None
    plan.moved[node] = axis
    return rows


def _rewrite(graph: ir.Graph, pick: ir.Node, plan: _Plan) -> None:
    index = pick.inputs[1]
    assert index is not None
    picker = RowPicker(Stage(graph, _STAGE), index)
    picked = set(plan.picked())
    for node, axis in plan.moved.items():
        rows = row_inputs(node, axis)
        assert isinstance(rows, dict)
        for place, row_axis in rows.items():
            value = node.inputs[place]
            assert value is not None
            if (value, row_axis) in picked:
                node.replace_input_with(place, picker.pick(value, *as_read(node, value, row_axis)))
    for node, axis in plan.moved.items():
        for made in node.outputs:
            if (dims := dims_of(made)) is not None:  # an omitted output has no shape
                made.shape = ir.Shape(one_row(dims, axis))
    for moved in plan.moved:
        _narrow(graph, moved)
    # The pooling's own selection becomes a Squeeze of the axis of size 1.
    data, output = pick.inputs[0], pick.outputs[0]
    squeezed = ir.Value(name=f"{output.name}.row", type=output.type, shape=output.shape)
    squeeze = ir.node("Squeeze", [data, integers(graph, [1])], outputs=[squeezed], name=f"{pick.name}.row")
    squeeze.metadata_props.update(pick.metadata_props)
    graph.insert_before(pick, squeeze)
    output.replace_all_uses_with(squeezed)
    graph.remove(pick, safe=True)
    graph.sort()


def _narrow(graph: ir.Graph, node: ir.Node) -> None:
    """Give a Reshape or an Expand the target shape of its new output."""
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
