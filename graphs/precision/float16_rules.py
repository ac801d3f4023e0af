"""The named rules that keep nodes of an fp16 graph in fp32, or clamp constants.

Each rule reads a cleaned fp32 graph and lists the nodes that must not compute in fp16, with the reason. `float16`
converts the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx import defs

from graphs.ir.magnitude import largest_magnitude
from graphs.ir.movement import moved_inputs
from graphs.ir.names import scores_name
from graphs.ir.stage import stage_of
from graphs.precision.attention_scores import has_scores
from graphs.precision.mask_constants import MaskFlow
from graphs.precision.positions import position_arithmetic

FLOAT16_MAX = 65504.0
SMALLEST_NORMAL = 2.0**-14
"""Below it fp16 loses bits; below 2**-24 it rounds to zero."""

MEASURED_LIMIT = FLOAT16_MAX / 2
"""A tensor that exceeds it on real text stays fp32; the factor of two allows for texts that reach further."""

MASK_LIMIT = FLOAT16_MAX / 2
"""Masking constants are clamped to it: their softmax is still zero, and the sum of two is still finite."""


@dataclass(frozen=True)
class Evidence:
    """What rules read.

    measured: tensor name -> largest magnitude on real text; NaN counts as out of range.
    mask: the masking constants and the tensors that carry them.
    """

    model: ir.Model
    measured: Mapping[str, float]
    mask: MaskFlow


@dataclass(frozen=True)
class Keep:
    """`node` stays fp32; `why` names the tensor or the constant."""

    node: ir.Node
    why: str


@dataclass(frozen=True)
class Clamp:
    """The initializer `constant` is limited to +-`limit`."""

    constant: ir.Value
    limit: float


@dataclass(frozen=True)
class Rule:
    """A named rule; `find` gives the nodes to keep and the constants to clamp."""

    name: str
    find: Callable[[Evidence], Iterable[Keep | Clamp]]


def _constants(evidence: Evidence) -> Iterator[tuple[ir.Node, str, ir.TensorProtocol, float]]:
    """Every use of a float initializer that is not a masking constant: node, name, tensor, largest magnitude."""
    for node in evidence.model.graph:
        for value in node.inputs:
            if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
                continue
            if value not in evidence.mask.constants:
                yield node, value.name or "", value.const_value, largest_magnitude(value.const_value)


def _pooling(evidence: Evidence) -> Iterator[Keep]:
    """Long sums, and norms with tiny epsilons. Operators that move values keep their input's dtype."""
    for node in evidence.model.graph:
        stage = stage_of(node)
        if stage in ("pooling", "head") and not moved_inputs(node):
            yield Keep(node, f"{stage} computes in fp32")


def _weight_range(evidence: Evidence) -> Iterator[Keep]:
    """Weights that are infinite in fp16."""
    for node, name, tensor, largest in _constants(evidence):
        if tensor.size > 1 and not largest <= FLOAT16_MAX:
            yield Keep(node, f"weight {name} reaches {largest:.6g}, fp16 ends at {FLOAT16_MAX:.0f}")


def _constant_range(evidence: Evidence) -> Iterator[Keep | Clamp]:
    """Numbers beyond fp16's range. A masking constant is clamped, so that the attention stays fp16 and can be fused."""
    for constant in sorted(evidence.mask.constants, key=lambda value: value.name or ""):
        yield Clamp(constant, MASK_LIMIT)
    for node, name, tensor, largest in _constants(evidence):
        if tensor.size == 1 and not largest <= FLOAT16_MAX:
            yield Keep(node, f"constant {name} is {largest:.6g}, fp16 ends at {FLOAT16_MAX:.0f}")


def _tiny_constant(evidence: Evidence) -> Iterator[Keep]:
    """Epsilons that are zero or subnormal in fp16, and the operators that divide by them."""
    for node, name, _, largest in _constants(evidence):
        if 0 < largest < SMALLEST_NORMAL:
            why = f"constant {name} is {largest:.6g}, fp16 begins at {SMALLEST_NORMAL:.3g}"
            yield from (Keep(kept, why) for kept in (node, *_norm_behind(node)))


_SUMS = frozenset({"ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "CumSum"})
_BEFORE_SUM = frozenset({"Pow", "Mul", "Sub", "Abs"})


def _reduction(evidence: Evidence) -> Iterator[Keep]:
    """Sums, powers, RMS norms, and the operators of a norm written out: Pow -> ReduceMean -> Add -> Sqrt -> Div."""
    for node in evidence.model.graph:
        if node.op_type == "Pow":
            yield Keep(node, f"Pow {node.name} soon leaves fp16")
        if node.op_type == "RMSNormalization":
            # It sums in fp32 in any case. As an fp16 operator it rounds twice, and its weight too: 1.3 times the error.
            yield Keep(node, f"RMSNormalization {node.name} sums many values")
        if node.op_type in _SUMS:
            source = node.inputs[0].producer() if node.inputs[0] is not None else None
            before = [source] if source is not None and source.op_type in _BEFORE_SUM else []
            why = f"{node.op_type} {node.name} sums many values"
            yield from (Keep(kept, why) for kept in (*before, node, *_norm_behind(node)))


_INSIDE_NORM = frozenset({"Add", "Max", "Clip", "Sqrt", "Pow", "Reciprocal", "Squeeze", "Unsqueeze"})
_END_OF_NORM = frozenset({"Div", "Mul", "Sub", "Log"})


def _norm_behind(node: ir.Node) -> Iterator[ir.Node]:
    """The rest of a norm after a sum or an epsilon: operators of one computed input, up to the division."""
    behind = list(node.successors())
    while behind:
        follower = behind.pop()
        if follower.op_type in _END_OF_NORM:
            yield follower
        elif follower.op_type in _INSIDE_NORM and len(follower.predecessors()) == 1:
            yield follower
            behind.extend(follower.successors())


def _measured_range(evidence: Evidence) -> Iterator[Keep]:
    """The producers and readers of tensors that exceeded MEASURED_LIMIT on real text."""
    for node in evidence.model.graph:
        scores = evidence.measured.get(scores_name(node)) if has_scores(node) else None
        if scores is not None and not scores <= MEASURED_LIMIT:
            yield Keep(
                node,
                f"the scores of {node.name} can reach {scores:.6g} on real text, the limit is {MEASURED_LIMIT:.0f}",
            )
        for value in node.outputs:
            largest = _measured(value, evidence.measured)
            if largest is None or largest <= MEASURED_LIMIT or value in evidence.mask.tensors:
                continue
            why = f"tensor {value.name} reached {largest:.6g} on real text, the limit is {MEASURED_LIMIT:.0f}"
            yield Keep(node, why)
            for reader in value.consumers():
                yield Keep(reader, why)


def _measured(value: ir.Value, measured: Mapping[str, float]) -> float | None:
    """The measured magnitude of a tensor, or of the tensor that it is moved from; None where neither was measured."""
    if value.name is not None and value.name in measured:
        return measured[value.name]
    producer = value.producer()
    sources = [_measured(source, measured) for source in moved_inputs(producer)] if producer else []
    magnitudes = [largest for largest in sources if largest is not None]
    return float(np.max(magnitudes)) if magnitudes else None  # the built-in max may lose a NaN, np.max never does


def _position(evidence: Evidence) -> Iterator[Keep]:
    """Arithmetic on positions that ends in a sine, a cosine or an index: fp16 holds integers only up to 2048."""
    for node, end in position_arithmetic(evidence.model.graph).items():
        yield Keep(node, f"{end.op_type} {end.name} is made from positions")


def _operator(evidence: Evidence) -> Iterator[Keep]:
    """Operators that ONNX does not define for fp16, and operators of other domains."""
    for node in evidence.model.graph:
        opset = evidence.model.opset_imports.get(node.domain)
        if node.domain or opset is None or not defs.has(node.op_type, opset):
            yield Keep(node, f"operator {node.domain}::{node.op_type} is not ONNX's own")
            continue
        schema = defs.get_schema(node.op_type, opset)
        allowed = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
        for parameter, value in zip(schema.outputs, node.outputs, strict=False):
            types = allowed.get(parameter.type_str, [parameter.type_str])
            if value.dtype == ir.DataType.FLOAT and "tensor(float16)" not in types:
                yield Keep(node, f"operator {node.op_type} has no fp16 form")


POOLING = Rule("pooling", _pooling)
WEIGHT_RANGE = Rule("weight-range", _weight_range)
CONSTANT_RANGE = Rule("constant-range", _constant_range)
TINY_CONSTANT = Rule("tiny-constant", _tiny_constant)
REDUCTION = Rule("reduction", _reduction)
MEASURED_RANGE = Rule("measured-range", _measured_range)
POSITION = Rule("position", _position)
OPERATOR = Rule("operator", _operator)

RULES = (POOLING, POSITION, WEIGHT_RANGE, CONSTANT_RANGE, REDUCTION, TINY_CONSTANT, MEASURED_RANGE, OPERATOR)
"""Every rule; a node is reported under the first rule that keeps it."""
