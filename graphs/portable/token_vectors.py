"""Give the token vectors of a graph as an output. Independent of what follows them."""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.names import LAST_HIDDEN_STATE


def add_token_vectors(model: ir.Model, hidden: ir.Value) -> None:
    """Make `hidden`, float32 [batch, seq, hidden], the first output, by the name `last_hidden_state`.

    Clients that know no names take the first output for the token vectors.

    Raises:
        ValueError: the graph gives no such value, or has another one of that name.
    """
    graph = model.graph
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    if not any(value is hidden for value in values):
        raise ValueError("the token vectors are no value of the graph any more")
    if hidden.name != LAST_HIDDEN_STATE and any(value.name == LAST_HIDDEN_STATE for value in values):
        raise ValueError(f"another value of the graph is called {LAST_HIDDEN_STATE}")
    hidden.name = LAST_HIDDEN_STATE
    graph.outputs.insert(0, hidden)
