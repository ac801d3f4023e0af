"""Append nodes that select one row per text from a tensor that holds every row, along any axis.

Independent of the reader of the row; `push_down_row` decides where one is selected.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.dims import BATCH, SEQ, Dims, aligned, dims_of
from graphs.ir.masks import mask_of_row, read_mask
from graphs.ir.row_rules import BROADCASTING
from graphs.ir.stage import Stage


def one_row(dims: Dims, axis: int) -> Dims:
    """`dims` with 1 along `axis`."""
    return (*dims[:axis], 1, *dims[axis + 1 :])


def as_read(reader: ir.Node, value: ir.Value, axis: int) -> tuple[Dims, int]:
    """The dimensions of an input as the reader broadcasts it, and the index of `axis` among them."""
    dims = dims_of(value)
    assert dims is not None
    rank = len(dims_of(reader.outputs[0]) or ())
    if reader.op_type not in BROADCASTING or len(dims) >= rank:
        return dims, axis
    return aligned(dims, rank), axis + rank - len(dims)


def can_pick(dims: Dims, axis: int) -> bool:
    """Whether one row per text can be selected: axis 0 is the batch, or no axis is."""
    return axis > 0 and dims[axis] == SEQ and dims[0] in (BATCH, 1) and BATCH not in dims[1:]


def repeated_row(value: ir.Value, axis: int) -> ir.Value | None:
    """The one row that a value repeats along an axis, as the canonical mask does; None where rows may differ."""
    producer, dims = value.producer(), dims_of(value)
    if producer is None or producer.op_type != "Expand" or dims is None:
        return None
    return producer.inputs[0] if dims_of(producer.inputs[0]) == one_row(dims, axis) else None


class RowPicker:
    """Appends the nodes that select a row, once per value and axis; the pass then sorts the graph."""

    def __init__(self, stage: Stage, index: ir.Value) -> None:
        self._stage = stage
        self._index = index
        self._masks = Stage(stage.graph, f"{stage.name}_mask", mark="mask")
        self._picked: dict[tuple[ir.Value, Dims, int], ir.Value] = {}

    def pick(self, value: ir.Value, dims: Dims, axis: int) -> ir.Value:
        """One row per text of `value` broadcast to `dims`: [batch, ..., 1 along `axis`, ...]."""
        key = value, dims, axis
        if key not in self._picked:
            repeated = repeated_row(value, axis - len(dims) + len(dims_of(value) or ()))
            mask = read_mask(value) if axis == len(dims) - 2 else None
            if repeated is not None:
                self._picked[key] = repeated
            elif mask is not None:
                # The masks of all rows grow with the square of the length.
                self._picked[key] = mask_of_row(self._masks, mask, self._index)
            else:
                self._picked[key] = self._pick(self._with_rank(value, dims), dims, axis)
        return self._picked[key]

    def _with_rank(self, value: ir.Value, dims: Dims) -> ir.Value:
        missing = len(dims) - len(dims_of(value) or ())
        if not missing:
            return value
        axes = self._stage.axes(*range(missing))
        return self._stage.op("Unsqueeze", value, axes, dtype=_dtype(value), shape=ir.Shape(dims))

    def _pick(self, value: ir.Value, dims: Dims, axis: int) -> ir.Value:
        return self._of_batch(value, dims, axis) if dims[0] == BATCH else self._of_all(value, dims, axis)

    def _of_batch(self, value: ir.Value, dims: Dims, axis: int) -> ir.Value:
        op, dtype = self._stage.op, _dtype(value)
        others = [place for place in range(1, len(dims)) if place != axis]
        rest = [dims[place] for place in others]
        if axis != 1:
            value = op("Transpose", value, perm=[0, axis, *others], dtype=dtype, shape=ir.Shape([BATCH, SEQ, *rest]))
        picked = op("GatherND", value, self._index, batch_dims=1, dtype=dtype, shape=ir.Shape([BATCH, *rest]))
        return op("Unsqueeze", picked, self._stage.axes(axis), dtype=dtype, shape=ir.Shape(one_row(dims, axis)))

    def _of_all(self, value: ir.Value, dims: Dims, axis: int) -> ir.Value:
        """Select rows of a value that is the same for every text; the index adds the batch axis."""
        op, dtype = self._stage.op, _dtype(value)
        index = op("Squeeze", self._index, self._stage.axes(1), dtype=ir.DataType.INT64, shape=ir.Shape([BATCH]))
        gathered = (*dims[:axis], BATCH, *dims[axis + 1 :])
        picked = op("Gather", value, index, axis=axis, dtype=dtype, shape=ir.Shape(gathered))
        swapped = list(range(len(dims)))
        swapped[0], swapped[axis] = axis, 0
        shape = ir.Shape((BATCH, *one_row(dims, axis)[1:]))
        return op("Transpose", picked, perm=swapped, dtype=dtype, shape=shape)


def _dtype(value: ir.Value) -> ir.DataType:
    assert value.dtype is not None
    return value.dtype
