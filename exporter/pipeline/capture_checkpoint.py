"""All that needs PyTorch: read the checkpoint, trace its encoder, compute the vectors that candidates must give.

Runs in a process of its own (`own_process`), which ends before graphs are built. Its result is plain values, and the
encoder as a file.
"""

from __future__ import annotations

from pathlib import Path

import torch

from exporter.host.console import Console
from exporter.model.checkpoint.weights import check_weights
from exporter.model.pytorch import Reference, load_backbone
from exporter.model.trace import export_encoder
from exporter.parity.checks import run_reference
from exporter.pipeline.plan import Capture
from exporter.pipeline.read_model import read_plan
from exporter.pipeline.recipes import prepare_encoder
from exporter.spec.options import ExportOptions
from graphs.encoder.cleanup import cleanup
from graphs.files.weights import save_graphs


def capture(options: ExportOptions, scratch: Path, console: Console) -> Capture:
    """Capture a checkpoint; the encoder is written into `scratch`.

    Raises:
        PoolfoldError: bad input, or a model that cannot be traced.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with console.stage("read") as stage:
        plan = read_plan(options, stage)
        check_weights(plan.spec.transformer, allow_pickle=options.allow_pickle)
    with console.stage("trace") as stage:
        backbone = load_backbone(plan.spec)
        encoder = export_encoder(backbone, plan.spec)
        before = len(encoder.graph)
        cleanup(encoder)
        prepare_encoder(encoder)
        path = scratch / "encoder.onnx"
        save_graphs({path: encoder}, scratch / "encoder.bin")
        stage.outcome = f"encoder, once: opset {encoder.opset_imports['']}, {before} -> {len(encoder.graph)} nodes"
    with console.stage("reference") as stage:
        run = run_reference(
            Reference(backbone, plan.head),
            plan.tokens,
            plan.strategies,
            progress=lambda done, total: stage.progress(done, total, f"{done} of {total} texts"),
        )
        stage.outcome = f"{len(plan.tokens.rows)} texts in PyTorch fp32"
    return Capture(plan, run, path)
