"""Check that a graph from another exporter is an encoder that poolfold can use, and find its token vectors.

Independent of files, checkpoints and runtimes; `adopt_encoder` rewrites the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, LAST_HIDDEN_STATE, POSITION_IDS, TOKEN_TYPE_IDS

_TOKEN_OUTPUTS = (LAST_HIDDEN_STATE, "token_embeddings")
"""Names that exporters give the token vectors, in order of preference: optimum's, then sentence-transformers'."""

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)
_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
_QUANTISED = frozenset(
    {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul"}
    | {"DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "MatMulBnb4"}
    | {"QAttention", "QEmbedLayerNormalization", "QGemm", "QLinearAdd", "QLinearMul", "GatherBlockQuantized"}
)


@dataclass(frozen=True)
class ForeignEncoder:
    """The parts of a graph that make up the encoder.

    hidden: the name of the output with the token vectors.
    width: the size of a token vector; None where the graph does not declare it.
    folded: the names of the inputs that become constants.
    """

    hidden: str
    width: int | None
    folded: tuple[str, ...]


def find_encoder(model: ir.Model) -> ForeignEncoder:
    """The encoder in a graph whose functions are inlined and whose inputs list no initializers.

    Raises:
        ir.passes.PreconditionError: the graph is not an fp32 encoder with dynamic batch and sequence axes.
    """
    _require_fp32(model)
    folded = _check_inputs(model.graph)
    hidden = _token_vectors(model.graph)
    reached = _inputs_behind(hidden)
    for name in (INPUT_IDS, ATTENTION_MASK):
        if name not in reached:
            raise ir.passes.PreconditionError(
                f"the token vectors {hidden.name} do not depend on {name}, so padded batches would give wrong vectors"
            )
    last = hidden.shape[-1] if hidden.shape is not None else None
    return ForeignEncoder(str(hidden.name), last if isinstance(last, int) else None, folded)


def _check_inputs(graph: ir.Graph) -> tuple[str, ...]:
    """Check names, dtypes and shapes of the inputs; return the names of those that become constants."""
    names = [str(value.name) for value in graph.inputs]
    expected = f"expected {INPUT_IDS}, {ATTENTION_MASK} and perhaps {TOKEN_TYPE_IDS}, {POSITION_IDS}"
    if unknown := [name for name in names if name not in (INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS, POSITION_IDS)]:
        raise ir.passes.PreconditionError(f"it has the inputs {', '.join(unknown)}; {expected}")
    if missing := [name for name in (INPUT_IDS, ATTENTION_MASK) if name not in names]:
        raise ir.passes.PreconditionError(f"it has no input {' and no '.join(missing)}; {expected}")
    for value in graph.inputs:
        if value.dtype not in _INTEGERS:
            raise ir.passes.PreconditionError(f"its input {value.name} is {value.dtype}; expected INT64 or INT32")
        if value.shape is None:
            continue
        if len(value.shape) != 2:
            raise ir.passes.PreconditionError(f"its input {value.name} is {value.shape}; expected [batch, seq]")
        if any(isinstance(dim, int) for dim in value.shape):
            raise ir.passes.PreconditionError(
                f"its input {value.name} has the fixed shape {value.shape}; expected [batch, seq] of any size. "
                "Export it with dynamic batch and sequence axes"
            )
    return tuple(name for name in names if name not in (INPUT_IDS, ATTENTION_MASK))


def _token_vectors(graph: ir.Graph) -> ir.Value:
    """The output that holds a vector for each token: by its name, or else the only output of rank 3."""
    named = [value for name in _TOKEN_OUTPUTS for value in graph.outputs if value.name == name]
    formed = [value for value in graph.outputs if value.shape is not None and len(value.shape) == 3]
    candidates = named[:1] or formed
    outputs = ", ".join(f"{value.name} {value.shape or 'of unknown shape'}" for value in graph.outputs)
    if len(candidates) != 1:
        what = "no vectors of tokens" if not candidates else "several outputs that could be the vectors of tokens"
        raise ir.passes.PreconditionError(
            f"it gives {outputs}: {what}. Expected {' or '.join(_TOKEN_OUTPUTS)}, float32 [batch, seq, hidden], since "
            "a pooled vector cannot be pooled in another way. Export the encoder for feature extraction"
        )
    (hidden,) = candidates
    if hidden.dtype != ir.DataType.FLOAT or (hidden.shape is not None and len(hidden.shape) != 3):
        raise ir.passes.PreconditionError(
            f"its output {hidden.name} is {hidden.dtype} {hidden.shape}; expected FLOAT [batch, seq, hidden]"
        )
    return hidden


def _require_fp32(model: ir.Model) -> None:
    """Refuse weights and operators of fewer bits than fp32: their lost precision cannot be recovered or measured."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    if quantised := sorted({node.op_type for node in nodes if node.op_type in _QUANTISED}):
        raise ir.passes.PreconditionError(
            f"it is quantised ({', '.join(quantised)}); expected fp32. Export the model without quantisation"
        )
    values = [*model.graph.initializers.values(), *model.graph.outputs]
    casts = [node for node in nodes if node.op_type == "Cast" and "to" in node.attributes]
    dtypes = {value.dtype for value in values} | {ir.DataType(node.attributes["to"].as_int()) for node in casts}
    if half := sorted(dtype.name for dtype in dtypes & _HALF if dtype is not None):
        raise ir.passes.PreconditionError(
            f"it is a graph in {', '.join(half)}; expected fp32. Export the model in fp32; --dtype fp16 makes the rest"
        )


def _inputs_behind(output: ir.Value) -> set[str]:
    """Names of the graph inputs that a value depends on."""
    names: set[str] = set()
    seen: set[ir.Value] = set()
    pending = [output]
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.is_graph_input():
            names.add(str(value.name))
        if (node := value.producer()) is not None:
            pending.extend(_reads(node))
    return names


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    """The values that a node and its subgraphs read."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            graphs = [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else attribute.as_graphs()
            for inner in (inner for graph in graphs for inner in ir.traversal.RecursiveGraphIterator(graph)):
                yield from (value for value in inner.inputs if value is not None)
