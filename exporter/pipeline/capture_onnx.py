"""All that is needed of an ONNX file: read it, make its encoder poolfold's own, compute what candidates must give.

As `capture` for a checkpoint, in a process of its own and with the same result, but without PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from exporter.host.console import Console
from exporter.model.adopt import import_encoder
from exporter.model.onnx_file import GraphReference
from exporter.parity.checks import run_reference
from exporter.pipeline.plan import Capture
from exporter.pipeline.read_model import read_plan
from exporter.pipeline.recipes import prepare_encoder
from exporter.spec.model import DType
from exporter.spec.options import ExportOptions
from graphs.files.weights import save_graphs
from poolfold.errors import InputError


def capture(options: ExportOptions, scratch: Path, console: Console) -> Capture:
    """Capture an ONNX file; the encoder is written into `scratch`.

    Raises:
        PoolfoldError: bad input, or a graph that cannot be taken.
    """
    with console.stage("read") as stage:
        plan = read_plan(options, stage)
        graph = plan.spec.source.graph
        assert graph is not None
    with console.stage("convert") as stage:
        encoder = import_encoder(graph, plan.spec)
        if DType.FP16 in options.dtypes:
            _require_no_subgraph(encoder.model, graph.path)
        if encoder.warning:
            stage.warn(encoder.warning)
        prepare_encoder(encoder.model)
        path = scratch / "encoder.onnx"
        save_graphs({path: encoder.model}, scratch / "encoder.bin")
        stage.outcome = encoder.done
        del encoder
    with console.stage("reference") as stage:
        run = run_reference(
            GraphReference(
                graph.path, graph.encoder.hidden, plan.head, width=plan.spec.hidden_size, threads=options.threads
            ),
            plan.tokens,
            plan.strategies,
            progress=lambda done, total: stage.progress(done, total, f"{done} of {total} texts"),
        )
        stage.outcome = f"{len(plan.tokens.rows)} texts in ONNX Runtime on {graph.path.name} as it is, pooled in numpy"
    return Capture(plan, run, path)


def _require_no_subgraph(model: ir.Model, path: Path) -> None:
    """Refuse fp16 of a graph with branches or loops: what they read from outside would have to be retyped with them."""
    for node in model.graph:
        if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
            raise InputError(
                f"{path} holds {node.op_type}, a subgraph, which --dtype fp16 cannot convert. Leave fp16 out, or "
                "export the model again without it."
            )
