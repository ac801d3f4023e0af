"""Build tiny graphs by hand, and run graphs in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

FLOAT, FLOAT16, INT64 = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.INT64


class GraphBuilder:
    """Collects nodes in order; `model` puts them into a graph."""

    def __init__(self, opset: int = 23) -> None:
        self.opset = opset
        self.inputs: list[ir.Value] = []
        self.constants: list[ir.Value] = []
        self.nodes: list[ir.Node] = []

    def input(self, name: str, dtype: ir.DataType, *shape: int | str) -> ir.Value:
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self.inputs.append(value)
        return value

    def constant(self, name: str, value: object, dtype: object = np.float32) -> ir.Value:
        tensor = ir.tensor(np.asarray(value, dtype), name=name)
        constant = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
        self.constants.append(constant)
        return constant

    def op(self, op_type: str, *inputs: ir.Value | None, name: str | None = None, domain: str = "", **attributes):
        name = name or f"{op_type.lower()}_{len(self.nodes)}"
        node = ir.node(op_type, inputs, attributes, domain=domain, outputs=[ir.Value(name=name)], name=f"n_{name}")
        self.nodes.append(node)
        return node.outputs[0]

    def model(self, *outputs: ir.Value) -> ir.Model:
        for output in outputs:
            output.type = output.type or ir.TensorType(FLOAT)
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=self.constants,
            opset_imports={"": self.opset},
            name="g",
        )
        return ir.Model(graph, ir_version=10)


def token_vectors_graph(hidden_size: int) -> ir.Model:
    """hidden float32 [batch, seq, hidden_size], attention_mask -> last_hidden_state, the same values."""
    build = GraphBuilder()
    hidden = build.input("hidden", FLOAT, "batch", "seq", hidden_size)
    build.input("attention_mask", INT64, "batch", "seq")
    output = build.op("Identity", hidden, name="last_hidden_state")
    output.type = ir.TensorType(FLOAT)
    output.shape = ir.Shape(["batch", "seq", hidden_size])
    return build.model(output)


def to_bytes(model: ir.Model) -> bytes:
    return ir.serde.serialize_model(model).SerializeToString(deterministic=True)


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def session(model: ir.Model | bytes | str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = to_bytes(model) if isinstance(model, ir.Model) else model
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(model: ir.Model | bytes | str, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    opened = session(model)
    return opened.run(None, {value.name: feeds[value.name] for value in opened.get_inputs()})


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest row cosine; NaN where a row holds one."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return float(((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())
