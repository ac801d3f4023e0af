"""Give a graph from another exporter the inputs and the output of an encoder that poolfold traced itself.

`foreign_encoder` decides which graphs qualify. Independent of files, checkpoints and runtimes.
"""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from graphs.encoder.foreign_encoder import find_encoder
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, LAST_HIDDEN_STATE, POSITION_IDS

_INT64 = ir.DataType.INT64
_KEPT = (INPUT_IDS, ATTENTION_MASK)
_OPSET = 11  # the first with Range


class AdoptEncoderPass(ir.passes.InPlacePass):
    """Turn a graph from another exporter into an encoder with two inputs and one output.

    Before: input_ids, attention_mask, token_type_ids, position_ids int64 or int32 [N, L] -> token_embeddings [N, L, H],
            sentence_embedding [N, H]
    After:  input_ids, attention_mask int64 [batch, seq] -> last_hidden_state float32 [batch, seq, hidden]; where an
            input was int32, a Cast; token_type_ids = Expand(0), position_ids = Expand(Range(seq)), both [batch, seq]

    Requires: what `find_encoder` requires; opset 11 or later.
    Ensures: every annotation calls the dimensions of the inputs batch and seq; nodes that only a removed output needed
        are removed.
    Numerics: exact for batches of token type 0 at positions 0, 1, ..., seq - 1.
    Source: optimum's and torch's exports.

    Args:
        width: how many values a token vector has.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph that is not such an encoder, or whose token vectors have another width."""
        if (opset := model.opset_imports.get("", 0)) < _OPSET:
            raise ir.passes.PreconditionError(f"it is a graph of opset {opset}; expected {_OPSET} or later")
        encoder = find_encoder(model)
        if encoder.width not in (None, self.width):
            raise ir.passes.PreconditionError(
                f"its token vectors {encoder.hidden} have {encoder.width} values; expected {self.width}"
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the interface."""
        graph = model.graph
        encoder = find_encoder(model)
        hidden = next(value for value in graph.outputs if value.name == encoder.hidden)
        _rename_dims(model)
        _rename(graph, hidden, LAST_HIDDEN_STATE)
        hidden.shape = ir.Shape(["batch", "seq", self.width])
        graph.outputs[:] = [hidden]
        _replace_inputs(graph)
        common.RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=True)


def _rename(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Give `value` the name `name`; a value that has this name already is renamed."""
    if value.name == name:
        return
    for other in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
        if other.name == name:
            other.name = f"{name}.foreign"
    value.name = name


def _rename_dims(model: ir.Model) -> None:
    """Rename the dimensions of the inputs to batch and seq in every annotation, also inside expressions."""
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for dim, name in zip(value.shape or (), ("batch", "seq"), strict=False):
            if isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                names[dim.value] = name if names.get(dim.value, name) == name else dim.value
    symbol = re.compile(r"[A-Za-z_]\w*")

    def renamed(dim: int | ir.SymbolicDim) -> int | str | None:
        if isinstance(dim, int) or dim.value is None:
            return dim if isinstance(dim, int) else None
        return names.get(dim.value) or symbol.sub(lambda match: names.get(match[0], match[0]), dim.value)

    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape([renamed(dim) for dim in value.shape])


def _replace_inputs(graph: ir.Graph) -> None:
    """Replace the inputs by int64 ids and mask [batch, seq], and compute the old inputs from these."""
    old = {str(value.name): value for value in graph.inputs}
    for name, value in old.items():
        value.name = f"{name}.foreign"
    made = {name: ir.Value(name=name, type=ir.TensorType(_INT64), shape=ir.Shape(["batch", "seq"])) for name in _KEPT}
    front = _Front(graph)
    for name in [name for name in old if name not in made]:
        made[name] = front.positions(made[INPUT_IDS]) if name == POSITION_IDS else front.zeros(made[INPUT_IDS])
    for name, value in old.items():
        source = made[name]
        assert value.dtype is not None
        if value.dtype != _INT64:
            source = front.op("Cast", source, to=int(value.dtype))
        value.replace_all_uses_with(source)
    graph.inputs[:] = [made[name] for name in _KEPT]
    graph.insert_before(graph[0], front.nodes)


class _Front:
    """Nodes to insert before the first node of a graph, in order."""

    def __init__(self, graph: ir.Graph) -> None:
        self.nodes: list[ir.Node] = []
        self._graph = graph

    def op(self, op_type: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        name = f"adopt.{op_type}_{len(self.nodes)}"
        self.nodes.append(ir.node(op_type, inputs, attributes, outputs=[ir.Value(name=name)], name=name))
        return self.nodes[-1].outputs[0]

    def zeros(self, ids: ir.Value) -> ir.Value:
        """0 for each token, int64 [batch, seq]."""
        return self.op("Expand", self._number("zero", 0), self.op("Shape", ids))

    def positions(self, ids: ir.Value) -> ir.Value:
        """0, 1, ..., seq - 1 in each row, int64 [batch, seq]."""
        shape = self.op("Shape", ids)
        one = self._number("one", 1)
        row = self.op("Range", self._number("zero", 0), self.op("Gather", shape, one), one)
        return self.op("Expand", row, shape)

    def _number(self, name: str, number: int) -> ir.Value:
        name = f"adopt.{name}"
        if name not in self._graph.initializers:
            tensor = ir.tensor(np.asarray(number, np.int64), name=name)
            self._graph.register_initializer(
                ir.Value(name=name, type=ir.TensorType(_INT64), shape=ir.Shape([]), const_value=tensor)
            )
        return self._graph.initializers[name]
