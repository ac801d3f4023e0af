"""Read a model, get its encoder, compute the vectors that candidates must give.

Runs in a process of its own, which ends before graphs are built: with PyTorch for a checkpoint, without it for an ONNX
file. Its result is plain values, and the encoder as a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.host.console import Console, count
from exporter.spec.options import ExportOptions

if TYPE_CHECKING:
    from exporter.pipeline.plan import Capture


def capture(options: ExportOptions, scratch: Path, console: Console) -> Capture:
    """Capture a model; the encoder is written into `scratch`.

    Raises:
        PoolfoldError: bad input, or a model that cannot be taken.
    """
    with console.stage("read") as stage:
        # Seconds, which would otherwise pass before anything is shown.
        from exporter.model.of_artifact import open_model
        from exporter.parity.checks import run_reference
        from exporter.pipeline.plan import Capture
        from exporter.pipeline.read_model import read_plan
        from exporter.pipeline.recipes import prepare_encoder
        from graphs.files.weights import save_graphs

        plan = read_plan(options, stage)
        model = open_model(plan.spec, options.threads)
    with console.stage(plan.spec.source.origin.stage) as stage:
        encoder = model.encoder(options.dtypes)
        if encoder.warning:
            stage.warn(encoder.warning)
        prepare_encoder(encoder.model, plan.spec.text.pad_token_id)
        path = scratch / "encoder.onnx"
        save_graphs({path: encoder.model}, scratch / "encoder.bin")
        stage.outcome = encoder.done
        del encoder
    with console.stage("reference") as stage:
        reference = model.reference(plan.head)
        run = run_reference(
            reference,
            plan.tokens,
            plan.strategies,
            progress=lambda done, total: stage.progress(done, total, f"{done} of {total} texts"),
        )
        stage.outcome = f"{count(len(plan.tokens.rows), 'text')} in {reference.described}"
    return Capture(plan, run, path)
