"""An ONNX file: its encoder, made poolfold's own, and its reference vectors. Needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from exporter.model.adopt import import_encoder
from exporter.model.onnx_file import GraphReference
from exporter.spec.model import DType, ModelSpec
from exporter.spec.reference import EncoderGraph
from graphs.pooling.head import Head
from poolfold.errors import InputError


class OnnxFileModel:
    """An ONNX file whose encoder somebody else exported."""

    def __init__(self, spec: ModelSpec, threads: int | None) -> None:
        """Take a file that has been read.

        Args:
            spec: what the model is; `spec.source.graph` is there.
            threads: of ONNX Runtime; None for `default_threads`.
        """
        assert spec.source.graph is not None
        self._spec, self._graph, self._threads = spec, spec.source.graph, threads

    def encoder(self, dtypes: tuple[DType, ...]) -> EncoderGraph:
        """The encoder in the form of a traced one.

        Raises:
            CheckpointError: the graph cannot be taken.
            InputError: fp16 of a graph with branches or loops.
        """
        encoder = import_encoder(self._graph, self._spec)
        if DType.FP16 in dtypes:
            _require_no_subgraph(encoder.model, self._graph.path)
        return encoder

    def reference(self, head: Head) -> GraphReference:
        """ONNX Runtime on the file as it is, pooled in numpy."""
        graph = self._graph
        width = self._spec.hidden_size
        return GraphReference(graph.path, graph.encoder.hidden, head, width=width, threads=self._threads)


def _require_no_subgraph(model: ir.Model, path: Path) -> None:
    """Refuse fp16 of a graph with branches or loops: what they read from outside would have to be retyped with them."""
    for node in model.graph:
        if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
            raise InputError(
                f"{path} holds {node.op_type}, a subgraph, which --dtype fp16 cannot convert. Leave fp16 out, or "
                "export the model again without it."
            )
