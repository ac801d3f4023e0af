"""A strongly typed network from an ONNX graph. Knows no engine and no file but the graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.targets import trt_library
from exporter.targets.attention_layers import node_of
from exporter.targets.trt_library import Library
from graphs.ir.names import SENTENCE_EMBEDDING
from poolfold.errors import CheckFailed, InputError
from poolfold.sessions.tensorrt.library import log


def parse(library: Library, network: Any, graph: Path) -> Any:
    """Parse a graph into a network, with its external data.

    Returns:
        The parser, which owns the weights: keep it until the engine is built.

    Raises:
        InputError: no such file, not an ONNX graph, or one with operators that the parser does not take.
    """
    if not graph.is_file():
        raise InputError(f"{graph} does not exist; expected an ONNX graph. Export the model again.")
    parser = library.trt.OnnxParser(network, log(library.trt))
    if not parser.parse_from_file(str(graph)):
        reasons = "; ".join(_reason(parser.get_error(index)) for index in range(parser.num_errors))
        raise InputError(
            f"{library.title} cannot parse {graph}: {reasons or trt_library.errors(library)}. Expected "
            "operators that its parser takes. Use target onnxruntime for this model."
        )
    return parser


def _reason(error: Any) -> str:
    """A parser error: the node by name, or by its place where it has none, the kind of error, and what it says."""
    node = f"node {error.node_name() or error.node()} ({error.node_operator()}): " if error.node_operator() else ""
    return f"{node}{error.code().name}: {error.desc().rstrip('.')}"


@dataclass(frozen=True)
class Types:
    """The precisions of a network.

    has_half: whether the graph holds float16 weights.
    fp32_nodes: ONNX nodes that the network computes in float32, in a graph that has float16 weights.
    """

    has_half: bool
    fp32_nodes: int


def check_types(library: Library, network: Any, graph: Path) -> Types:
    """Require that the network has the graph's precisions.

    Raises:
        CheckFailed: another output than float32 `sentence_embedding`, a network that is not strongly typed, one that
            computes nothing in float16 although the graph has float16 weights, or one that computes a node in float16
            that the graph keeps float32.
    """
    import onnx_ir as ir

    trt = library.trt
    outputs = {network.get_output(i).name: network.get_output(i).dtype for i in range(network.num_outputs)}
    if outputs != {SENTENCE_EMBEDDING: trt.DataType.FLOAT}:
        got = ", ".join(f"{name} {dtype.name}" for name, dtype in outputs.items())
        raise CheckFailed(
            f"{graph} has outputs {got}; expected {SENTENCE_EMBEDDING} FLOAT alone. Export the model again."
        )
    model = ir.load(graph)
    has_half = any(value.dtype == ir.DataType.FLOAT16 for value in model.graph.initializers.values())
    layers = (network.get_layer(index) for index in range(network.num_layers))
    computed = [layer for layer in layers if layer.type != trt.LayerType.CONSTANT and layer.num_outputs]
    given = {layer.get_output(0).dtype for layer in computed}
    # From TensorRT 11 on every network is strongly typed, and the flag says nothing any more.
    weak_types_exist = hasattr(trt.BuilderFlag, "FP16")
    if weak_types_exist and not network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED):
        raise CheckFailed(
            f"the network made of {graph} is not strongly typed, so its precisions are the library's choice; expected "
            f"the graph's own. Install another version than {library.title}."
        )
    if has_half and trt.DataType.HALF not in given:
        raise CheckFailed(
            f"{graph} holds float16 weights and the network made of it computes nothing in float16; expected the "
            f"graph's own precisions. Install another version than {library.title}."
        )
    by_node: dict[str, set[Any]] = {}
    for layer in computed:
        by_node.setdefault(node_of(layer.metadata), set()).add(layer.get_output(0).dtype)
    for node in model.graph:
        types = by_node.get(node.name or "", set())
        if node.outputs[0].dtype == ir.DataType.FLOAT and types == {trt.DataType.HALF}:
            raise CheckFailed(
                f"the network made of {graph} computes node {node.name} in float16, and the graph in float32; expected "
                f"the graph's own precisions. Install another version than {library.title}."
            )
    kept = sum(trt.DataType.FLOAT in types for types in by_node.values())
    return Types(has_half, kept if has_half else 0)
