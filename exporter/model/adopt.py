"""The encoder of an ONNX file that somebody else exported -> an fp32 graph as `trace` would have made it.

Pooling is folded in later, as for any other encoder. Knows which passes make the graph poolfold's own, in which order.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tokenizers import Tokenizer

from exporter.model.checkpoint.graph_source import read_graph
from exporter.model.checkpoint.sequence_limit import OFFSET_TYPES
from exporter.model.symbolic_shapes import infer_symbolic_shapes
from exporter.spec.model import GraphFile, ModelSpec
from exporter.spec.reference import EncoderGraph
from graphs.encoder.adopt_encoder import AdoptEncoderPass
from graphs.encoder.cleanup import cleanup
from graphs.encoder.known_dims import FoldKnownDimsPass
from graphs.encoder.raise_opset import RaiseOpsetPass
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, POSITION_IDS, TOKEN_TYPE_IDS
from poolfold.errors import CheckpointError, first_line

_PRODUCTS = ("Gather", "Gemm", "MatMul")
"""Operators whose constants are weights."""


def import_encoder(graph: GraphFile, spec: ModelSpec) -> EncoderGraph:
    """Make the encoder of a file poolfold's own.

    Args:
        graph: the file.
        spec: what the model is; its `hidden_size` is the width of a token vector.

    Returns:
        A model with inputs input_ids, attention_mask int64 [batch, seq] and output last_hidden_state float32
        [batch, seq, hidden]. Its weights stay where they lie.

    Raises:
        CheckpointError: the file cannot be read or converted, a weight is NaN, or a folded input would be wrong.
    """
    _require_plain_positions(graph, spec)
    _require_plain_token_types(graph, spec)
    model = read_graph(graph.path)
    _require_numbers(graph, model)
    opset, nodes = model.opset_imports.get("", 0), len(model.graph)
    try:
        AdoptEncoderPass(spec.hidden_size)(model)
        # In front of the conversion, which goes by ranks, and once more behind it for the nodes that are new.
        unknown = infer_symbolic_shapes(model)
        if RaiseOpsetPass()(model).modified:
            unknown = infer_symbolic_shapes(model)
        cleanup(model)
        # Behind the cleanup, which lifts the indices that it looks for; what it makes constant folds further.
        if FoldKnownDimsPass()(model).modified:
            cleanup(model)
    except (ir.passes.PassError, ir.passes.PreconditionError, ValueError) as error:
        because = f" Shapes were not inferred: {unknown}." if unknown else ""
        raise CheckpointError(
            f"{graph.path} cannot become an encoder: {first_line(error).rstrip('.')}.{because}"
        ) from error
    folded = f"; {' and '.join(graph.encoder.folded)} constant" if graph.encoder.folded else ""
    after = f"opset {opset} -> {model.opset_imports['']}, {nodes} -> {len(model.graph)} nodes"
    return EncoderGraph(
        model, f"{graph.encoder.hidden} of {graph.path.name}: {after}{folded}", _about_shapes(model, unknown)
    )


def _about_shapes(model: ir.Model, reason: str | None) -> str | None:
    """A warning where shapes were not inferred, and the file does not say them either."""
    values = [value for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    # ONNX's own inference gives a dimension that it loses a name of this form.
    lost = [v for v in values if v.shape is None or v.shape.has_unknown_dim() or "unk__" in str(v.shape)]
    return f"the shapes of {len(lost)} tensors are not known ({reason})." if reason and lost else None


def _require_plain_positions(graph: GraphFile, spec: ModelSpec) -> None:
    """Refuse to fold positions where they are not simply 0, 1, 2, ..."""
    if POSITION_IDS in graph.encoder.folded and spec.model_type in OFFSET_TYPES:
        raise CheckpointError(
            f"{graph.path} has an input {POSITION_IDS}, and a {spec.model_type} counts positions by its padding: they "
            f"are no constant to fold. Export it without {POSITION_IDS}, so that the graph computes them."
        )


def _require_plain_token_types(graph: GraphFile, spec: ModelSpec) -> None:
    """Refuse to fold token types where the tokeniser gives a text others than 0, as XLNet's does."""
    if TOKEN_TYPE_IDS not in graph.encoder.folded or not spec.token_types:
        return
    types = set(Tokenizer.from_str(spec.tokenizer_json).encode("a b").type_ids)
    if types - {0}:
        raise CheckpointError(
            f"{graph.path} has an input {TOKEN_TYPE_IDS}, and its tokeniser gives a text the types {sorted(types)}: "
            f"they are no constant to fold, and a graph of {INPUT_IDS} and {ATTENTION_MASK} cannot take them."
        )


def _require_numbers(graph: GraphFile, model: ir.Model) -> None:
    """Refuse weights that are no numbers. Elsewhere an infinity may be a mask; a NaN is never right."""
    weights = {value for node in model.graph if node.op_type in _PRODUCTS for value in node.inputs}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point():
            continue
        array = tensor.numpy()
        if bad := int((~np.isfinite(array) if value in weights else np.isnan(array)).sum()):
            raise CheckpointError(
                f"{graph.path}: tensor {name!r} has {bad} of {tensor.size} values that are NaN or infinite. "
                "Fetch or export it again; such a model gives no usable vectors."
            )
