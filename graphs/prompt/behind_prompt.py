"""Let an encoder start behind a prompt, whose keys and values are an input, instead of computing the prompt each time.

A causal transformer computes the same for the beginning of a text whatever follows. So the keys and the values of a
prompt that stands before every text are constants of the model.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.dims import BATCH, SEQ, Dims, dims_of
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, PROMPT_STATES
from graphs.ir.stage import Stage, stage_of

PROMPT = "prompt"
"""Symbol of the number of tokens of the prompt."""
KEYS = "prompt+seq"
"""Symbol of the number of tokens that a query may attend to: those of the prompt, then those of the batch."""

_STAGE = "prompt"
_INT64 = ir.DataType.INT64


class BehindPromptPass(ir.passes.InPlacePass):
    """Add the input `prompt_states`, float32 [2 * attentions, heads, prompt, head].

    Before: K, V [batch, heads, seq, head], mask [batch, 1, seq, seq], rotary tables [1, seq, head]
    After:  Concat(Expand(prompt_states[i]), K), V alike; Concat(ones, attention_mask) [batch, prompt+seq]; mask and
            tables are computed for prompt+seq positions, and the queries' part of them is sliced

    Requires: an encoder with canonical masks, one for each Attention, and nothing else that combines tokens; grouped
        heads; shapes inferred. `why_not` tells whether a graph qualifies; one that does not is refused.
    Ensures: given what `states_of` are on a prompt, the rows are those of the whole run behind the prompt, where the
        model is causal and padding is on the right. With a prompt of 0 tokens, they are those of the graph as it was.
    Numerics: exact; a softmax over the same numbers.
    Source: this project. Inference servers keep the same states for each request, as a prefix cache.
    """

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph that does not qualify."""
        if (reason := why_not(model.graph)) is not None:
            raise ir.passes.PreconditionError(f"a prompt cannot be folded: {reason}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Add the input, lengthen what depends on positions alone, then the keys and the values."""
        graph = model.graph
        mask = next(value for value in graph.inputs if value.name == ATTENTION_MASK)
        free, borders = _positional(graph)
        states = ir.Value(name=PROMPT_STATES, type=ir.TensorType(ir.DataType.FLOAT), shape=_states_shape(graph))
        stage = Stage(graph, _STAGE)
        length = stage.op("Shape", states, start=2, end=3, dtype=_INT64, shape=ir.Shape([1]))
        batch = stage.op("Shape", mask, start=0, end=1, dtype=_INT64, shape=ir.Shape([1]))
        readers = [(node, place) for node, place in mask.uses() if node in free]
        front = stage.op("Concat", batch, length, axis=0, dtype=_INT64, shape=ir.Shape([2]))
        ones = stage.op("Expand", stage.axes(1), front, dtype=_INT64, shape=ir.Shape([BATCH, PROMPT]))
        longer = stage.op("Concat", ones, mask, axis=1, dtype=_INT64, shape=ir.Shape([BATCH, KEYS]))
        for node, place in readers:
            node.replace_input_with(place, longer)
        for node in free:
            for value in node.outputs:
                value.shape = ir.Shape([KEYS if dim == SEQ else dim for dim in dims_of(value) or ()])
        for value, axis, uses in borders:
            queries = _sliced(stage, value, axis, length)
            for node, place in uses:
                node.replace_input_with(place, queries)
        target = stage.op("Concat", batch, stage.axes(1, 1, 1), axis=0, dtype=_INT64, shape=ir.Shape([4]))
        for index, (value, uses) in enumerate(_keys_and_values(graph).items()):
            joined = _behind(stage, states, index, target, value)
            for node, place in uses:
                node.replace_input_with(place, joined)
        graph.inputs.append(states)
        graph.sort()
        return ir.passes.PassResult(model, modified=True)


def states_of(model: ir.Model) -> tuple[ir.Value, ...]:
    """Each Attention's keys and then its values, float32 [batch, heads, seq, head]: the order of `prompt_states`."""
    return tuple(_keys_and_values(model.graph))


def why_not(graph: ir.Graph) -> str | None:
    """Why no prompt can be folded into an encoder; None where one can. Whether it is causal, its numbers must show."""
    if any(node.op_type == "Softmax" for node in graph):
        return "its attention is not the operator Attention"
    shapes = {dims_of(value) for value in _keys_and_values(graph)}
    shape = shapes.pop() if len(shapes) == 1 else None
    if shape is None:
        return "its layers differ in the sizes of keys and values" if shapes else "it has no Attention"
    if len(shape) != 4 or shape[0] != BATCH or shape[2] != SEQ:
        return f"its keys are {list(shape)}; expected [batch, heads, seq, head]"
    for node in _attentions(graph):
        masked = node.inputs[3] if len(node.inputs) > 3 else None
        producer = masked.producer() if masked is not None else None
        if producer is None or stage_of(producer) != "mask":
            return f"the mask of {node.name} is not a canonical one"
    _, borders = _positional(graph)
    for value, axis, _ in borders:
        if axis is None:
            return f"{value.name} {list(dims_of(value) or ())} is not one number a position"
    return None


def _attentions(graph: ir.Graph) -> list[ir.Node]:
    return [node for node in graph if node.op_type == "Attention" and not node.domain]


def _keys_and_values(graph: ir.Graph) -> dict[ir.Value, list[tuple[ir.Node, int]]]:
    """Keys and values in the order of the Attentions, each with the Attentions that read it, and where."""
    found: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    for node in _attentions(graph):
        for place in (1, 2):
            value = node.inputs[place]
            assert value is not None
            found.setdefault(value, []).append((node, place))
    return found


def _states_shape(graph: ir.Graph) -> ir.Shape:
    values = list(_keys_and_values(graph))
    dims = dims_of(values[0])
    assert dims is not None
    return ir.Shape([len(values), dims[1], PROMPT, dims[3]])


_Border = tuple[ir.Value, int | None, list[tuple[ir.Node, int]]]


def _positional(graph: ir.Graph) -> tuple[frozenset[ir.Node], list[_Border]]:
    """The nodes that depend on the mask and on lengths alone, not on ids; and their values that other nodes read.

    Of each such value, the axis of the queries, None where it has none, and its readers.
    """
    ids = next(value for value in graph.inputs if value.name == INPUT_IDS)
    of_ids: set[ir.Value] = {ids}
    for node in graph:
        if any(value in of_ids for value in node.inputs):
            of_ids.update(node.outputs)
    free = frozenset(node for node in graph if not any(value in of_ids for value in node.outputs))
    borders: list[_Border] = []
    for node in graph:
        if node not in free:
            continue
        for value in node.outputs:
            uses = [(reader, place) for reader, place in value.uses() if reader not in free]
            if uses:
                borders.append((value, _query_axis(value, uses), uses))
    return free, borders


def _query_axis(value: ir.Value, uses: list[tuple[ir.Node, int]]) -> int | None:
    """The axis of a mask's queries, or of the positions of anything else."""
    dims: Dims = dims_of(value) or ()
    if all(node.op_type == "Attention" and place == 3 for node, place in uses):
        return len(dims) - 2 if dims[-2:] == (SEQ, SEQ) else None
    return dims.index(SEQ) if dims.count(SEQ) == 1 else None


def _sliced(stage: Stage, value: ir.Value, axis: int | None, length: ir.Value) -> ir.Value:
    """The part of a value behind the prompt."""
    dims = list(dims_of(value) or ())
    assert axis is not None and value.dtype is not None
    dims[axis] = SEQ
    end = stage.constant("end", [np.iinfo(np.int64).max], np.int64)
    return stage.op("Slice", value, length, end, stage.axes(axis), dtype=value.dtype, shape=ir.Shape(dims))


def _behind(stage: Stage, states: ir.Value, index: int, target: ir.Value, value: ir.Value) -> ir.Value:
    """Keys or values [batch, heads, seq, head] behind those of the prompt: [batch, heads, prompt+seq, head]."""
    dims = dims_of(value)
    assert dims is not None
    _, heads, _, size = dims
    place = stage.constant(f"state_{index}", index, np.int64)
    one = stage.op("Gather", states, place, axis=0, shape=ir.Shape([heads, PROMPT, size]))
    each = stage.op("Expand", one, target, shape=ir.Shape([BATCH, heads, PROMPT, size]))
    return stage.op("Concat", each, value, axis=2, shape=ir.Shape([BATCH, heads, KEYS, size]))
