"""Run the subgraph that computes one attention mask, and know how long a sequence must be to show all that it does.

A mask is arithmetic on positions: thresholds, sums of them, tables. Only operators are accepted of which it can be said
how far a number reaches, so that a window of 4096 is tried beyond 4096. Ignorant of what masks are for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from graphs.ir.constants import array_of
from graphs.ir.dims import BATCH, SEQ, dims_of
from graphs.ir.names import ATTENTION_MASK

Bools = npt.NDArray[np.bool_]

SWITCHED_OFF = -1e4
"""An additive mask at or below it leaves nothing of a score."""

_SUMS = frozenset(
    {"Add", "Sub", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
    | {"Concat", "Gather", "GatherElements", "GatherND", "Range", "Slice", "Trilu"}
)
"""Operators by which the reaches of the inputs add up: i - 3 <= 4 tells positions apart up to 7."""

_MOVED = frozenset({"Cast", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_OTHERS = _MOVED | {"Abs", "And", "ConstantOfShape", "Max", "Min", "Neg", "Not", "Or", "Shape", "Where", "Xor"}
"""Operators by which a number reaches no further than before."""

_FILLED = _MOVED | {"Add", "Max", "Min", "Mul", "Neg", "Sub", "Trilu", "Where"}
"""Operators behind which a number that switches off is one still."""

_EXACT = frozenset({ir.DataType.BOOL, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.DOUBLE})
"""Dtypes in which every position is itself."""


class CannotRunError(Exception):
    """The subgraph fails on sequences of this length: they are longer than a table that it reads."""


class MaskProgram:
    """The subgraph that computes one mask from attention_mask, ready to run.

    reach: beyond sequences of this length nothing new happens; infinite where that cannot be said.
    tables: sizes of the constants, any of which may end what can be computed.
    """

    def __init__(self, graph: ir.Graph, value: ir.Value, *, inverted: bool = False) -> None:
        """Cut out the subgraph of `value`; `inverted` where true means "not allowed"."""
        self._inverted = inverted
        part = ir.convenience.extract(graph, inputs=graph.inputs, outputs=[value])
        self._inputs = [v for v in part.inputs if v.uses()]
        constants = [array for v in part.initializers.values() if (array := array_of(v)) is not None]
        self.tables = sorted({max(array.shape, default=1) for array in constants})
        self.reach = _reach(part) if all(_can_feed(v) for v in self._inputs) else math.inf
        self._evaluator: Callable[..., Any] | None = None
        if math.isfinite(self.reach):
            self._evaluator = ReferenceEvaluator(ir.to_proto(ir.Model(part, ir_version=10))).run

    def allowed(self, mask: npt.NDArray[np.int64]) -> Bools | None:
        """Which keys each query may attend to, bool [batch, seq, seq]; None where it is no mask of 0 and -large.

        Raises:
            CannotRunError: the subgraph fails at this length.
        """
        assert self._evaluator is not None
        feeds = {v.name: _feed(v, mask) for v in self._inputs}
        shape = (len(mask), 1, mask.shape[1], mask.shape[1])
        try:
            (got,) = self._evaluator(None, feeds)
            got = np.broadcast_to(got, np.broadcast_shapes(got.shape, shape))
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise CannotRunError from error
        if got.shape[:1] + got.shape[2:] != shape[:1] + shape[2:]:
            raise CannotRunError
        if any((got[:, head] != got[:, 0]).any() for head in range(1, got.shape[1])):
            return None
        allowed: npt.NDArray[Any] = got[:, 0]
        if allowed.dtype != np.bool_:
            if not ((allowed == 0) | (allowed <= SWITCHED_OFF)).all():
                return None
            allowed = allowed == 0
        return ~allowed if self._inverted else allowed


def _can_feed(value: ir.Value) -> bool:
    """Whether the dtype and each dimension of an input is known: batch, seq, or a number."""
    dims = dims_of(value)
    return value.dtype is not None and dims is not None and all(d in (BATCH, SEQ) or isinstance(d, int) for d in dims)


def _feed(value: ir.Value, mask: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """The mask; of any other input only the shape is read."""
    sizes = dict(zip((BATCH, SEQ), mask.shape, strict=True))
    assert value.dtype is not None
    shape = [sizes[dim] if isinstance(dim, str) else int(dim or 0) for dim in dims_of(value) or ()]
    return (mask if value.name == ATTENTION_MASK else np.zeros(shape)).astype(value.dtype.numpy())


def _reach(part: ir.Graph) -> float:
    """The length beyond which nothing new happens; infinite where an operator may do anything."""
    reaches: dict[ir.Value, float] = {}
    finest, scalings = 1.0, 0
    for value in part.initializers.values():
        reaches[value], step = _reach_and_step(value, array_of(value))
        finest = min(finest, step)
    for node in part:
        inputs = [reaches.get(value, 0.0) for value in node.inputs if value is not None]
        if node.domain or not all(value.dtype in _EXACT for value in node.outputs):
            return math.inf
        if node.op_type == "Mul":
            reach = math.prod(r + 1 for r in inputs) - 1
        elif node.op_type in _SUMS:
            reach = sum(inputs)
        elif node.op_type in _OTHERS:
            reach = max(inputs, default=0.0)
        else:
            return math.inf
        scalings += node.op_type == "Mul" or (node.op_type == "Range" and node.outputs[0].dtype != ir.DataType.INT64)
        if node.op_type == "ConstantOfShape" and (attribute := node.attributes.get("value")) is not None:
            number, step = _reach_and_step(node.outputs[0], attribute.as_tensor().numpy())
            reach, finest = max(reach, number), min(finest, step)
        reaches.update((value, reach) for value in node.outputs)
    # 0.1 * i <= 4 reaches to 40.
    return max(reaches.values(), default=0.0) / finest**scalings


def _reach_and_step(value: ir.Value, array: npt.NDArray[Any] | None) -> tuple[float, float]:
    """How far a constant reaches, by its numbers and its size, and how close a number of it is to a whole one."""
    if array is None:
        return math.inf, 1.0
    size = float(max(array.shape, default=0))
    if array.dtype.kind == "b" or (array.size == 1 and _switches_off(value, array)):
        return size, 1.0
    numbers = array.astype(np.float64)
    if array.dtype.kind == "f":
        # A table is no longer than its positions, so what switches off in it is none of them.
        numbers = numbers[np.isfinite(numbers) & ((numbers > SWITCHED_OFF) | (array.size == 1))]
    elif all(node.op_type == "Slice" for node in value.consumers()):
        numbers = numbers[np.abs(numbers) < 2**31]  # to the end
    steps = np.abs(numbers - np.rint(numbers))
    return float(max(np.abs(numbers).max(initial=0.0), size)), float(steps[steps > 0].min(initial=1.0))


def _switches_off(value: ir.Value, array: npt.NDArray[Any]) -> bool:
    """Whether a constant is the large number that switches off, and is never compared to a position."""
    return array.dtype.kind == "f" and abs(array.item()) >= -SWITCHED_OFF and _only_filled(value)


def _only_filled(value: ir.Value) -> bool:
    """Whether nothing is done with a number but to select it, to add it and to scale it."""
    return all(
        node.op_type in _FILLED and not (node.op_type == "Where" and place == 0) and _only_filled(node.outputs[0])
        for node, place in value.uses()
    )
