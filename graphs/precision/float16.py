"""Convert a cleaned fp32 graph to a strongly typed fp16 graph, in which named rules keep some nodes fp32.

The graph states the precision of every tensor, and a strongly typed engine builder follows it. `float16_rules` decides
which nodes stay fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphs.ir.magnitude import largest_magnitude
from graphs.ir.movement import moved_inputs
from graphs.precision.float16_rules import FLOAT16_MAX, RULES, Clamp, Evidence, Keep, Rule
from graphs.precision.mask_constants import find_mask_flow

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_SUFFIX = {ir.DataType.FLOAT: ".fp32", ir.DataType.FLOAT16: ".fp16"}


@dataclass(frozen=True)
class KeptNode:
    """A node that stayed fp32: the rule, the node's name, and the tensor or constant that is the reason."""

    rule: str
    node: str
    why: str


class ConvertToFloat16Pass(ir.passes.InPlacePass):
    """Convert every float tensor to fp16, except those that a rule keeps fp32; graph outputs stay fp32.

    Before: Gather -> MatMul -> Attention -> ... -> ReduceSum -> Div, all fp32
    After:  Gather -> MatMul -> Attention -> ... in fp16 -> Cast -> ReduceSum -> Div in fp32

    Requires: an fp32 graph without subgraphs, every dtype known (`cleanup`), pooling and head folded in.
    Ensures: the float inputs and outputs of a node share one dtype; a tensor is cast at most once, and no cast reads
        another float cast; operators that only move values have their input's dtype.
    Numerics: fp16 rounding of weights and tensors; `rehearsal` shows what it does to the vectors.
    Source: NVIDIA's strongly typed networks; rules in `float16_rules`.

    After a run, `kept` says which nodes stayed fp32, in graph order.
    """

    def __init__(
        self,
        measured: Mapping[str, float],
        shared: dict[ir.TensorProtocol, ir.TensorProtocol],
        rules: tuple[Rule, ...] = RULES,
    ) -> None:
        """Prepare a conversion.

        Args:
            measured: tensor name -> largest magnitude on real text.
            shared: fp32 tensor -> the fp16 tensor made from it; pass the same dict for all graphs of a model, so that
                each weight is converted, and later stored, once.
            rules: the rules to apply.
        """
        self.measured = measured
        self.shared = shared
        self.rules = rules
        self.kept: tuple[KeptNode, ...] = ()

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph with subgraphs, unknown dtypes, or tensors that are not fp32."""
        for node in model.graph:
            if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
                raise ir.passes.PreconditionError(f"{node.op_type} {node.name} holds a subgraph; expected none")
            for value in node.outputs:
                if value.name and value.dtype is None:
                    raise ir.passes.PreconditionError(f"{value.name} has no dtype; run cleanup first")
                if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
                    raise ir.passes.PreconditionError(f"{value.name} is {value.dtype}; expected an fp32 graph")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Apply the rules, then convert the remaining nodes."""
        graph = model.graph
        _make_constants_visible(graph)
        _part_large_constants(graph)
        evidence = Evidence(model, self.measured, find_mask_flow(graph))
        kept: dict[ir.Node, KeptNode] = {}
        modified = False
        for rule in self.rules:
            for finding in rule.find(evidence):
                match finding:
                    case Keep(node, why) if _has_floats(node):
                        kept.setdefault(node, KeptNode(rule.name, node.name or "", why))
                    case Clamp(constant, limit):
                        _clamp(constant, limit)
                        modified = True
        retyped = _Retyped(graph, self.shared)
        for node in list(graph):
            if _has_floats(node) and not _takes_any_dtype(node):
                _retype(node, retyped, kept)
        retyped.finish()
        self.kept = tuple(kept[node] for node in graph if node in kept)
        modified |= any(value.dtype == ir.DataType.FLOAT16 for node in graph for value in node.outputs)
        return ir.passes.PassResult(model, modified=modified)

    def ensures(self, model: ir.Model) -> None:
        """Check that the floats of every node share one dtype."""
        for node in model.graph:
            values = [*node.inputs, *node.outputs[:1]]
            dtypes = {value.dtype for value in values if value is not None and value.dtype in _FLOATS}
            if len(dtypes) > 1 and node.op_type not in ("Cast", "CastLike"):
                raise ir.passes.PostconditionError(f"{node.op_type} {node.name} mixes {dtypes}")


def _retype(node: ir.Node, retyped: _Retyped, kept: dict[ir.Node, KeptNode]) -> None:
    """Give the floats of one node the same dtype; the producers of its inputs have theirs already."""
    origin = _fp32_source(node)
    if node not in kept and origin is not None:
        producer = origin.producer()
        rule = kept[producer].rule if producer in kept else "graph-input"
        kept[node] = KeptNode(rule, node.name or "", f"moves {origin.name}, which is fp32")
    dtype = ir.DataType.FLOAT if node in kept else ir.DataType.FLOAT16
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype in _FLOATS:
            node.replace_input_with(index, retyped.at(value, dtype))
    # LayerNormalization's further outputs, mean and deviation, are fp32 by definition.
    outputs = node.outputs[:1] if node.op_type == "LayerNormalization" else node.outputs
    for value in outputs:
        if value.dtype == ir.DataType.FLOAT:
            value.type = ir.TensorType(
                dtype
            )  # a new one: clones share their type objects, and setting dtype changes them
    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", int(dtype))


def _fp32_source(node: ir.Node) -> ir.Value | None:
    """The fp32 tensor that `node` moves; None where it computes, or moves only fp16 tensors and constants."""
    moved = (value for value in moved_inputs(node) if value.const_value is None)
    return next((value for value in moved if value.dtype == ir.DataType.FLOAT), None)


def _has_floats(node: ir.Node) -> bool:
    values = (*node.inputs, *node.outputs)
    return any(value is not None and value.dtype == ir.DataType.FLOAT for value in values)


def _takes_any_dtype(node: ir.Node) -> bool:
    """Whether the node accepts any float dtype and needs no cast: it reads only a shape, or casts from float."""
    return node.op_type in ("Shape", "Size") or (node.op_type == "Cast" and node.outputs[0].dtype not in _FLOATS)


def _make_constants_visible(graph: ir.Graph) -> None:
    """Replace ConstantOfShape(value) by Expand(initializer), so that every constant is an initializer."""
    for node in list(graph):
        if node.op_type != "ConstantOfShape" or node.outputs[0].dtype != ir.DataType.FLOAT:
            continue
        attribute = node.attributes.get("value")
        number = attribute.as_tensor().numpy().reshape(()) if attribute else np.float32(0)
        output = node.outputs[0]
        tensor = ir.tensor(np.asarray(number, np.float32), name=f"{output.name}.value")
        constant = ir.Value(
            name=tensor.name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([]), const_value=tensor
        )
        graph.register_initializer(constant)
        expanded = ir.Value(name=output.name, type=ir.TensorType(ir.DataType.FLOAT), shape=output.shape)
        expand = ir.Node("", "Expand", [constant, node.inputs[0]], outputs=[expanded], name=node.name)
        expand.metadata_props.update(node.metadata_props)
        graph.insert_after(node, expand)
        output.replace_all_uses_with(expanded)
        graph.remove(node, safe=True)


def _part_large_constants(graph: ir.Graph) -> None:
    """Give each reader of a number beyond fp16's range a copy of its own.

    The masking constants of the model and of the pooling may be equal, and so share one initializer; but a rule may
    treat them differently.
    """
    for constant in list(graph.initializers.values()):
        tensor, uses = constant.const_value, list(constant.uses())
        if constant.dtype != ir.DataType.FLOAT or tensor is None or tensor.size != 1 or len(uses) < 2:
            continue
        if largest_magnitude(tensor) <= FLOAT16_MAX:
            continue
        for number, (node, index) in enumerate(uses[1:], 1):
            name = f"{constant.name}.{number}"
            copy = ir.tensor(tensor.numpy(), name=name)
            part = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=constant.shape, const_value=copy)
            graph.register_initializer(part)
            node.replace_input_with(index, part)


def _clamp(constant: ir.Value, limit: float) -> None:
    assert constant.const_value is not None
    array = np.clip(constant.const_value.numpy(), -limit, limit)
    constant.const_value = ir.tensor(array, name=constant.name)


class _Retyped:
    """The tensors of a graph in either dtype; each conversion is made on first use, and only once."""

    def __init__(self, graph: ir.Graph, shared: dict[ir.TensorProtocol, ir.TensorProtocol]) -> None:
        self.graph = graph
        self.shared = shared
        self.made: dict[ir.Value, ir.Value] = {}

    def at(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """`value` in `dtype`."""
        if value.dtype == dtype:
            return value
        if value not in self.made:
            self.made[value] = self._initializer(value) if value.is_initializer() else self._cast(value, dtype)
        return self.made[value]

    def finish(self) -> None:
        """Cast the outputs back to fp32, and remove initializers and casts that nothing reads any more."""
        for index, output in enumerate(self.graph.outputs):
            if output.dtype == ir.DataType.FLOAT16:
                name = output.name
                fp32 = self.at(output, ir.DataType.FLOAT)
                output.name, fp32.name = f"{name}.fp16", name
                self.graph.outputs[index] = fp32
        for value, made in self.made.items():
            producer = value.producer()
            if value.uses() or value.is_graph_output():
                continue
            if value.is_initializer():
                name = value.name
                assert name is not None
                del self.graph.initializers[name]
                made.name = name
            elif producer is not None and producer.op_type == "Cast":
                self.graph.remove(producer, safe=True)

    def _initializer(self, value: ir.Value) -> ir.Value:
        tensor = value.const_value
        assert tensor is not None
        if tensor not in self.shared:
            with np.errstate(over="ignore"):  # the rules decide which weights may overflow
                self.shared[tensor] = ir.tensor(tensor.numpy().astype(np.float16), name=value.name)
        half = self.shared[tensor]
        made = ir.Value(
            name=f"{value.name}.fp16",
            type=ir.TensorType(half.dtype),
            shape=ir.Shape(half.shape.numpy()),
            const_value=half,
        )
        self.graph.register_initializer(made)
        return made

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        producer = value.producer()
        # Where the producer casts from integers, cast its input again: a cast of a cast would round twice.
        source = producer.inputs[0] if producer is not None and producer.op_type == "Cast" else value
        name = f"{value.name}{_SUFFIX[dtype]}"
        made = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape)
        cast = ir.node("Cast", [source], {"to": int(dtype)}, outputs=[made], name=f"Cast.{name}")
        if producer is not None:
            self.graph.insert_after(producer, cast)
        else:
            self.graph.insert_before(self.graph[0], cast)
        return made
