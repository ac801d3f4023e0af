"""Which rows of its inputs an operator needs to compute one row of its output.

A row is one position along an axis of size seq. Each text of the batch (axis 0) needs a row of its own, so a rule also
requires that the operator keeps axis 0 in place. There is one rule per ONNX operator, independent of which row is
needed and of what the graph computes.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from graphs.ir.constants import integers_of
from graphs.ir.dims import SEQ, Dims, aligned, dims_of, same_size

RowInputs = dict[int, int]
"""Index of an input -> the axis along which one row of it is enough. Inputs that are not listed are needed whole."""

ELEMENTWISE = frozenset(
    {"Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor"}
    | {"Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu"}
    | {"Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "Pow"}
    | {"Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum"}
    | {"Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor"}
)
"""Operators whose every output element depends on one element of each input, after broadcasting."""

BROADCASTING = ELEMENTWISE | {"Attention", "MatMul"}
"""Operators that accept an input of lower rank than the output, and prepend axes to it."""

NORMALISATIONS = frozenset({"LayerNormalization", "RMSNormalization"})
"""Operators over all axes from `axis` to the last; `axis` is the last by default."""

SOFTMAXES = frozenset({"Hardmax", "LogSoftmax", "LpNormalization", "Softmax"})
"""Operators over one axis, by default the last."""

REDUCTIONS = frozenset({"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"}) | {
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
}


def row_inputs(node: ir.Node, axis: int) -> RowInputs | str:
    """The rows of the inputs that one row of the outputs needs; or the reason why it needs whole inputs.

    Args:
        node: the operator. If it has several outputs, one row of each is meant.
        axis: the axis of the outputs along which the row is one position; not negative.
    """
    if node.domain:
        return f"{node.domain}::{node.op_type} is not ONNX's own"
    if any(dims_of(v) is None for v in (*node.outputs, *(i for i in node.inputs if i is not None)) if v.name):
        return f"{node.op_type} has a tensor of unknown rank"
    if node.op_type in ELEMENTWISE:
        return _elementwise(node, axis)
    rule = _RULES.get(node.op_type)
    return f"{node.op_type} may mix rows" if rule is None else rule(node, axis)


def _shape(node: ir.Node, index: int) -> Dims:
    value = node.inputs[index]
    dims = dims_of(value)
    assert dims is not None
    return dims


def _output(node: ir.Node) -> Dims:
    dims = dims_of(node.outputs[0])
    assert dims is not None
    return dims


def _has_input(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def axis_of(node: ir.Node, rank: int, default: int = -1, name: str = "axis") -> int:
    """The attribute `name`, an axis of a tensor of `rank`, as a non-negative number."""
    attribute = node.attributes.get(name)
    return (default if attribute is None else attribute.as_int()) % rank


def _elementwise(node: ir.Node, axis: int) -> RowInputs | str:
    rank = len(_output(node))
    rows: RowInputs = {}
    for index, value in enumerate(node.inputs):
        if value is None:
            continue
        dims = _shape(node, index)
        match aligned(dims, rank)[axis]:
            case 1:
                continue
            case str(dim) if dim == SEQ:
                rows[index] = axis - (rank - len(dims))
            case dim:
                return f"{node.op_type} reads {value.name} with {dim} rows, and {SEQ} were expected"
    return rows


def _matmul(node: ir.Node, axis: int) -> RowInputs | str:
    rank = len(_output(node))
    left, right = _shape(node, 0), _shape(node, 1)
    if min(len(left), len(right)) < 2:
        return "MatMul multiplies a vector"
    if axis == rank - 2:
        return {0: len(left) - 2}
    if axis == rank - 1:
        return {1: len(right) - 1}
    return _elementwise(node, axis)


def _normalisation(node: ir.Node, axis: int) -> RowInputs | str:
    first = axis_of(node, len(_output(node)))
    if len([v for v in node.outputs if v.uses() or v.is_graph_output()]) > 1:
        return f"{node.op_type} gives its mean or deviation as well"
    if not scales_alike(node, len(_output(node))):
        return f"{node.op_type} scales each row by numbers of its own"
    return {0: axis} if axis < first else f"{node.op_type} goes over the rows"


def scales_alike(node: ir.Node, rank: int) -> bool:
    """Whether a normalisation applies the same scale and bias to every row that it normalises."""
    first = axis_of(node, rank)
    scales = [dims_of(value) for value in node.inputs[1:] if value is not None]
    return all(dims is not None and set(aligned(dims, rank)[:first]) <= {1} for dims in scales)


def _softmax(node: ir.Node, axis: int) -> RowInputs | str:
    over = axis_of(node, len(_output(node)))
    return {0: axis} if over not in (0, axis) else f"{node.op_type} goes over the rows"


def _reduction(node: ir.Node, axis: int) -> RowInputs | str:
    rank = len(_shape(node, 0))
    axes = integers_of(node.inputs[1]) if _has_input(node, 1) else None
    keeps = node.attributes.get("keepdims")
    if axes is None or (keeps is not None and not keeps.as_int()):
        return f"{node.op_type} drops axes, or goes over all of them"
    return {0: axis} if {a % rank for a in axes}.isdisjoint((0, axis)) else f"{node.op_type} goes over the rows"


def _transpose(node: ir.Node, axis: int) -> RowInputs | str:
    attribute = node.attributes.get("perm")
    permutation = list(attribute.as_ints()) if attribute is not None else list(range(len(_output(node))))[::-1]
    return {0: permutation[axis]} if permutation[0] == 0 else "Transpose moves the batch"


def _reshape(node: ir.Node, axis: int) -> RowInputs | str:
    source, target = _shape(node, 0), _output(node)
    for place, dim in enumerate(source):
        if (
            dim == SEQ
            and same_size(source[:place], target[:axis])
            and same_size(source[place + 1 :], target[axis + 1 :])
        ):
            return {0: place}
    return f"Reshape {list(source)} -> {list(target)} mixes the rows with another axis"


def _unsqueeze(node: ir.Node, axis: int) -> RowInputs | str:
    axes = integers_of(node.inputs[1])
    if axes is None:
        return "Unsqueeze by computed axes"
    added = {a % len(_output(node)) for a in axes}
    if 0 in added:
        return "Unsqueeze moves the batch"
    return {} if axis in added else {0: axis - sum(a < axis for a in added)}


def _squeeze(node: ir.Node, axis: int) -> RowInputs | str:
    source = _shape(node, 0)
    axes = integers_of(node.inputs[1]) if _has_input(node, 1) else None
    if axes is None:
        return "Squeeze by computed axes, or of whatever is 1"
    removed = {a % len(source) for a in axes}
    kept = [place for place in range(len(source)) if place not in removed]
    return {0: kept[axis]} if 0 not in removed else "Squeeze moves the batch"


def _expand(node: ir.Node, axis: int) -> RowInputs | str:
    dims = _shape(node, 0)
    if len(dims) != len(_output(node)):
        return "Expand adds axes"
    # The row is later made by an Expand with a constant shape, so every other axis must have its size already, or
    # expand to a number.
    others = [(a, b) for place, (a, b) in enumerate(zip(dims, _output(node), strict=True)) if place != axis]
    if any((a != b and not isinstance(b, int)) or None in (a, b) for a, b in others) or dims[axis] not in (1, SEQ):
        return "Expand repeats along a computed axis"
    return {0: axis} if dims[axis] == SEQ else {}


def _concat(node: ir.Node, axis: int) -> RowInputs | str:
    if axis_of(node, len(_output(node))) in (0, axis):
        return "Concat joins rows"
    return {index: axis for index, value in enumerate(node.inputs) if value is not None}


def _split(node: ir.Node, axis: int) -> RowInputs | str:
    over = axis_of(node, len(_output(node)), default=0)
    return {0: axis} if over not in (0, axis) else "Split separates rows"


def _slice(node: ir.Node, axis: int) -> RowInputs | str:
    rank = len(_output(node))
    axes = integers_of(node.inputs[3]) if _has_input(node, 3) else list(range(rank))
    if axes is None:
        return "Slice along computed axes"
    return {0: axis} if {a % rank for a in axes}.isdisjoint((0, axis)) else "Slice cuts the rows"


def _gather(node: ir.Node, axis: int) -> RowInputs | str:
    data, indices = _shape(node, 0), _shape(node, 1)
    along = axis_of(node, len(data), default=0)
    if along == 0 and axis >= len(indices):
        return "Gather takes from the batch"
    if along <= axis < along + len(indices):
        # Along an axis other than the batch, one list of indices serves all texts, but each text needs its own row.
        return {1: axis} if along == 0 else "Gather takes the same rows of every text"
    return {0: axis if axis < along else axis - len(indices) + 1}


def _gather_elements(node: ir.Node, axis: int) -> RowInputs | str:
    data, indices = _shape(node, 0), _shape(node, 1)
    along = axis_of(node, len(data), default=0)
    if along in (0, axis):
        return {1: axis} if along == axis else "GatherElements takes from the batch"
    if data[axis] != indices[axis]:
        return "GatherElements takes a part of the rows"
    return {0: axis, 1: axis}


def _attention(node: ir.Node, axis: int) -> RowInputs | str:
    """Softmax(Q K^T * scale + mask) V, over [batch, heads, seq, head]: a row needs its own query and all keys."""
    causal = node.attributes.get("is_causal")
    if causal is not None and causal.as_int():
        return "Attention is causal by attribute: its mask is not in the graph"
    further = [value for value in node.outputs[1:] if value.uses() or value.is_graph_output()]
    if further or any(_has_input(node, index) for index in range(4, len(node.inputs))):
        return "Attention has more inputs or outputs than Q, K, V, mask and Y"
    if len(_output(node)) != 4 or axis != 2:
        return "Attention is not over [batch, heads, seq, head]"
    rows = {0: 2}
    if _has_input(node, 3):
        mask = _shape(node, 3)
        if len(mask) < 2 or mask[-2] not in (1, SEQ):
            return f"Attention has a mask {list(mask)}, and [..., {SEQ} or 1, keys] was expected"
        if mask[-2] == SEQ:
            rows[3] = len(mask) - 2
    return rows


_RULES: dict[str, Callable[[ir.Node, int], RowInputs | str]] = {
    "Attention": _attention,
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **dict.fromkeys(NORMALISATIONS, _normalisation),
    **dict.fromkeys(SOFTMAXES, _softmax),
    **dict.fromkeys(REDUCTIONS, _reduction),
}
