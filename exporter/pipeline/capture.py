"""Read a model, get its encoder, compute the vectors that candidates must give.

Runs in a process of its own, which ends before graphs are built: with PyTorch for a checkpoint, without it for an ONNX
file. Its result is plain values, and the encoder as a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.host.console import Console
from exporter.spec.options import ExportOptions

if TYPE_CHECKING:
    from exporter.parity.effort import Effort
    from exporter.pipeline.plan import Capture

_TRACE_S = 1.5
"""Seconds a layer, whatever its size."""
_WRITE_S = 5e-9
"""Seconds a weight: it is loaded and written again."""


def capture(options: ExportOptions, effort: Effort, scratch: Path, console: Console) -> Capture:
    """Capture a model; the encoder is written into `scratch`.

    effort: as `expected_effort` of the targets and precisions; this process may know fewer targets.

    Raises:
        PoolfoldError: bad input, or a model that cannot be taken.
    """
    with console.stage("read") as stage:
        # Seconds, which would otherwise pass before anything is shown.
        from exporter.model.of_artifact import open_model
        from exporter.parity.proof import prove
        from exporter.parity.tokens import read_texts
        from exporter.pipeline.afford import allowance, expected_candidates, require_memory
        from exporter.pipeline.plan import Capture
        from exporter.pipeline.read_model import read_plan
        from exporter.pipeline.recipes import prepare_encoder
        from graphs.files.weights import save_graphs

        plan = read_plan(options, stage)
        require_memory(plan.spec)
        allowed = allowance(plan.spec, options.validation, expected_candidates(plan.spec, len(plan.strategies), effort))
        model = open_model(plan.spec, options.threads)
    with console.stage(plan.spec.source.origin.stage) as stage:
        stage.expect(_TRACE_S * plan.spec.num_layers + _WRITE_S * plan.spec.parameters)
        encoder = model.encoder(options.dtypes)
        if encoder.warning:
            stage.warn(encoder.warning)
        prepare_encoder(encoder.model, plan.spec.text.pad_token_id)
        path = scratch / "encoder.onnx"
        save_graphs({path: encoder.model}, scratch / "encoder.bin")
        stage.outcome = encoder.done
        del encoder
    limit = plan.spec.text.max_seq_length
    with console.stage("reference") as stage:
        reference = model.reference(plan.head)
        proof = prove(
            reference,
            lambda length: plan.tokens if length == limit else read_texts(plan.spec, options.judging, length),
            limit,
            plan.strategies,
            allowed,
            progress=stage.progress,
        )
        for note in proof.notes():
            stage.warn(note)
        stage.outcome = f"{proof.scope()} in {reference.described}"
    return Capture(plan, proof, path)
