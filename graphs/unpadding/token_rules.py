"""Which operators are token-wise: they compute each token independently of the others.

Such an operator gives the same on `[batch, seq, ...]` and on `[1, tokens, ...]`, with the same attributes. Independent
of how tokens are packed; `padding_free` packs them.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.constants import integers_of
from graphs.ir.dims import BATCH, SEQ, Dims, aligned, dims_of
from graphs.ir.row_rules import ELEMENTWISE, NORMALISATIONS, REDUCTIONS, SOFTMAXES, axis_of, scales_alike


def token_inputs(node: ir.Node) -> frozenset[int] | None:
    """Indices of the inputs that have a value for each token, or None where `node` is not token-wise on floats.

    They include inputs that are equal for all texts, [1, seq, ...], or for all tokens of a text, [batch, 1, ...].
    """
    if node.domain or not node.outputs:
        return None
    outputs = [value for value in node.outputs if value.name]
    if not all(_is_token_tensor(dims_of(value)) and value.dtype == ir.DataType.FLOAT for value in outputs):
        return None
    if node.op_type in ELEMENTWISE:
        return _elementwise(node)
    if node.op_type == "Gather":
        return _gather(node)
    first = dims_of(node.inputs[0])
    if not _is_token_tensor(first) or not _keeps_tokens(node, len(first or ())):
        return None
    if node.op_type == "Concat":
        return frozenset(range(len(node.inputs))) if all(_is_token_tensor(dims_of(v)) for v in node.inputs) else None
    return frozenset({0})


def _is_token_tensor(dims: Dims | None) -> bool:
    """Whether the dimensions are [batch, seq, numbers ...], with at least one number."""
    return dims is not None and len(dims) > 2 and dims[:2] == (BATCH, SEQ) and _is_numbers(dims[2:])


def _is_numbers(dims: Dims) -> bool:
    return all(isinstance(dim, int) for dim in dims)


def _elementwise(node: ir.Node) -> frozenset[int] | None:
    rank = len(dims_of(node.outputs[0]) or ())
    per_token = set()
    for index, value in enumerate(node.inputs):
        if value is None:
            continue
        dims = dims_of(value)
        if dims is None:
            return None
        whole = aligned(dims, rank)
        if len(whole) != rank or whole[0] not in (1, BATCH) or whole[1] not in (1, SEQ) or not _is_numbers(whole[2:]):
            return None
        if whole[:2] != (1, 1):
            per_token.add(index)
    return frozenset(per_token)


def _gather(node: ir.Node) -> frozenset[int] | None:
    """A look-up in a table for each token, or a selection along an axis after the token axes."""
    table, indices = dims_of(node.inputs[0]), dims_of(node.inputs[1])
    if table is None or indices is None:
        return None
    along = axis_of(node, len(table), default=0)
    if along == 0 and _is_numbers(table) and indices in ((BATCH, SEQ), (1, SEQ)):
        return frozenset({1})
    return frozenset({0}) if along > 1 and _is_token_tensor(table) and _is_numbers(indices) else None


def _keeps_tokens(node: ir.Node, rank: int) -> bool:
    """Whether the operator neither moves nor combines the first two axes."""
    kind = node.op_type
    if kind == "MatMul":
        return len(dims_of(node.inputs[1]) or ()) == 2
    if kind in NORMALISATIONS:
        return axis_of(node, rank) > 1 and scales_alike(node, rank)
    if kind in SOFTMAXES or kind == "Concat":
        return axis_of(node, rank) > 1
    if kind == "Split":
        return axis_of(node, rank, default=0) > 1
    if kind == "Transpose":
        permutation = node.attributes.get("perm")
        return permutation is not None and list(permutation.as_ints())[:2] == [0, 1]
    if kind == "Reshape":
        return (integers_of(node.inputs[1]) or [])[:2] == [0, 0]
    axes = _axes(node)
    # A negative axis counts from the end of the larger of input and output.
    larger = max(rank, len(dims_of(node.outputs[0]) or ()))
    return axes is not None and all(axis % larger > 1 for axis in axes)


def _axes(node: ir.Node) -> list[int] | None:
    """The axes of a Slice, Squeeze, Unsqueeze or reduction; None for other operators, or where they are computed."""
    place = {"Slice": 3, "Squeeze": 1, "Unsqueeze": 1}.get(node.op_type, 1 if node.op_type in REDUCTIONS else None)
    if place is None or len(node.inputs) <= place:
        return None
    return integers_of(node.inputs[place])
