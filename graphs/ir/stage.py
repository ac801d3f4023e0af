"""Append nodes to a graph, each marked with the stage that added it.

Later passes read the mark: precision rules, for example, keep the stage `pooling` in fp32. Independent of what the
nodes compute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

STAGE_KEY = "poolfold.stage"
"""Key of `metadata_props` under which a node carries its stage."""
FORM_KEY = "poolfold.mask_form"
"""Key under which the node that writes an attention mask carries the mask's form."""


def stage_of(node: ir.Node) -> str | None:
    """The stage that added `node`, or None for a node of the exported encoder."""
    return node.metadata_props.get(STAGE_KEY)


class Stage:
    """Appends nodes of one stage at the end of a graph; names are numbered, so that equal input gives equal bytes."""

    def __init__(self, graph: ir.Graph, name: str, *, mark: str = "", outer: Stage | None = None) -> None:
        """Begin a stage.

        Args:
            graph: what nodes are appended to.
            name: what their names begin with.
            mark: the stage that they carry; empty for `name`.
            outer: of the graph that has this one as a branch or a body; it keeps the constants.
        """
        self.graph = graph
        self.name = name
        self._mark = mark or name
        self._outer = outer
        self._count = 0
        self._constants: dict[str, ir.Value] = {}

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        dtype: ir.DataType = ir.DataType.FLOAT,
        shape: ir.Shape | None = None,
        domain: str = "",
        **attributes: float | Sequence[int] | ir.DataType,
    ) -> ir.Value:
        """Append one node with one output of `dtype` and, where it is known, `shape`; returns that output.

        `domain` is empty for ONNX's own operators.
        """
        name = f"{self.name}.{op_type}_{self._count}"
        self._count += 1
        node = ir.node(
            op_type,
            inputs,
            domain=domain,
            attributes={key: int(v) if isinstance(v, ir.DataType) else v for key, v in attributes.items()},
            outputs=[ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)],
            name=name,
            metadata_props={STAGE_KEY: self._mark},
        )
        self.graph.append(node)
        return node.outputs[0]

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> ir.Value:
        """The initializer `<stage>.<name>`, made on the first call with this name."""
        if self._outer is not None:
            return self._outer.constant(name, value, dtype)
        if name not in self._constants:
            tensor = ir.tensor(np.asarray(value, dtype), name=f"{self.name}.{name}")
            constant = ir.Value(
                name=tensor.name,
                type=ir.TensorType(tensor.dtype),
                shape=ir.Shape(tensor.shape.numpy()),
                const_value=tensor,
            )
            self.graph.register_initializer(constant)
            self._constants[name] = constant
        return self._constants[name]

    def axes(self, *axes: int) -> ir.Value:
        """An int64 initializer of axes, or of any other integers."""
        return self.constant("axes_" + "_".join(map(str, axes)), axes, np.int64)
