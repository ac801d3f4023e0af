"""Run the subgraph that computes one attention mask, and bound the sequence length up to which it must be tested.

A mask is arithmetic on positions: thresholds, sums, tables. The reach of a subgraph is the length beyond which its
behaviour repeats: a window of 4096 has a reach of 4096 or more, and must be tested beyond it. Only operators with a
known reach are accepted. Independent of what masks are for.
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
from graphs.ir.movement import LAYOUT
from graphs.ir.names import ATTENTION_MASK

Bools = npt.NDArray[np.bool_]

SWITCHED_OFF = -1e4
"""At or below this number, an additive mask makes the attention weight zero."""

_SUMS = frozenset(
    {"Add", "Sub", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
    | {"Concat", "Gather", "GatherElements", "GatherND", "Range", "Slice", "Trilu"}
)
"""Operators whose reach is the sum of their inputs' reaches: i - 3 <= 4 distinguishes positions up to 7."""

_MOVED = LAYOUT | {"Cast"}
"""Operators that change layout or dtype. Those that select values by position, such as Gather and Slice, are in _SUMS:
their indices are positions too."""

_OTHERS = _MOVED | {"Abs", "And", "ConstantOfShape", "Max", "Min", "Neg", "Not", "Or", "Shape", "Where", "Xor"}
"""Operators whose reach is the largest of their inputs' reaches."""

_FILLED = _MOVED | {"Add", "Max", "Min", "Mul", "Neg", "Sub", "Trilu", "Where"}
"""Operators that keep a masking constant a masking constant (their output still hides the position)."""

_EXACT = frozenset({ir.DataType.BOOL, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.DOUBLE})
"""Dtypes that represent every position exactly."""


class CannotRunError(Exception):
    """The subgraph fails on sequences of this length, because a table in it is shorter."""


class MaskProgram:
    """The subgraph that computes one mask from attention_mask, ready to run.

    reach: the sequence length beyond which the behaviour repeats; infinite where it is unknown.
    tables: sizes of the constants, in rising order; the subgraph may fail on sequences longer than any of them.
    """

    def __init__(self, graph: ir.Graph, value: ir.Value, *, inverted: bool = False) -> None:
        """Extract the subgraph of `value`; `inverted`: true in the mask means "may not attend"."""
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
        """Which keys each query may attend to, bool [batch, seq, seq]; None where its values are not 0 and -large.

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
    """Whether the dtype of an input is known, and each of its dimensions is batch, seq or a number."""
    dims = dims_of(value)
    return value.dtype is not None and dims is not None and all(d in (BATCH, SEQ) or isinstance(d, int) for d in dims)


def _feed(value: ir.Value, mask: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """The value of an input: the mask, or zeros for any other input, of which the subgraph reads only the shape."""
    sizes = dict(zip((BATCH, SEQ), mask.shape, strict=True))
    assert value.dtype is not None
    shape = [sizes[dim] if isinstance(dim, str) else int(dim or 0) for dim in dims_of(value) or ()]
    return (mask if value.name == ATTENTION_MASK else np.zeros(shape)).astype(value.dtype.numpy())


def _reach(part: ir.Graph) -> float:
    """The length beyond which the behaviour repeats; infinite where the reach of an operator is unknown."""
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
    # Multiplied by fractions, positions reach further: 0.1 * i <= 4 has a reach of 40.
    return max(reaches.values(), default=0.0) / finest**scalings


def _reach_and_step(value: ir.Value, array: npt.NDArray[Any] | None) -> tuple[float, float]:
    """The reach of a constant, from its numbers and its size, and the smallest distance of a number to an integer."""
    if array is None:
        return math.inf, 1.0
    size = float(max(array.shape, default=0))
    if array.dtype.kind == "b" or (array.size == 1 and _switches_off(value, array)):
        return size, 1.0
    numbers = array.astype(np.float64)
    if array.dtype.kind == "f":
        # The length of a table is counted by `size`, so masking numbers inside it need not count as positions.
        numbers = numbers[np.isfinite(numbers) & ((numbers > SWITCHED_OFF) | (array.size == 1))]
    elif all(node.op_type == "Slice" for node in value.consumers()):
        numbers = numbers[np.abs(numbers) < 2**31]  # larger numbers mean "to the end of the axis"
    steps = np.abs(numbers - np.rint(numbers))
    return float(max(np.abs(numbers).max(initial=0.0), size)), float(steps[steps > 0].min(initial=1.0))


def _switches_off(value: ir.Value, array: npt.NDArray[Any]) -> bool:
    """Whether a constant is the large number that masks a score, and is never compared to a position."""
    return array.dtype.kind == "f" and abs(array.item()) >= -SWITCHED_OFF and _only_filled(value)


def _only_filled(value: ir.Value) -> bool:
    """Whether every operator that reads the value, directly or through others, only selects, adds or scales it."""
    return all(
        node.op_type in _FILLED and not (node.op_type == "Where" and place == 0) and _only_filled(node.outputs[0])
        for node, place in value.uses()
    )
