"""`export`, stage by stage: every arrow of docs/architecture.md in order, and nothing published unless all succeed.

The model is read in a process of its own, which is gone with its memory before graphs are built and engines compiled:
with PyTorch for a checkpoint, without it for an ONNX file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.artifact.publish import require_apart, staging
from exporter.host.child_process import OwnProcess
from exporter.host.console import Console
from exporter.parity.effort import expected_effort
from exporter.spec.choices import target_dtypes
from exporter.spec.options import ExportOptions
from exporter.spec.origin import origin_of
from poolfold.manifest import Manifest

if TYPE_CHECKING:
    from exporter.pipeline.plan import Capture


def export_model(options: ExportOptions, console: Console) -> Manifest:
    """Export a model and return the manifest of the published artifact.

    Raises:
        PoolfoldError: bad input, a failed check, an unavailable target. The destination is then as it was.
    """
    require_apart(options.output, [Path(options.model)])
    shares = target_dtypes(options.targets, options.dtypes)
    # The destination is held first: finding it unusable after minutes of work would waste them.
    with staging(options.output, force=options.force) as place:
        effort = expected_effort(options.targets, options.dtypes, portable=options.token_embeddings)
        reader = OwnProcess(
            "exporter.pipeline.capture:capture",
            *(options, effort, place.scratch, console),
            # PyTorch makes a folder for its compiler wherever it is imported; here it goes away with the rest.
            variables={"TORCHINDUCTOR_CACHE_DIR": str(place.scratch / "torchinductor")},
            without=origin_of(options.model).without,
        )
        with console.lent(), reader as reading:
            # A second of imports, spent while the other process makes its own.
            from exporter.pipeline.make_artifact import make_artifact
            from exporter.targets.engines import require_available, require_supported

            require_supported(options.build, shares)
            require_available(shares)
            captured: Capture = reading.result()
        return make_artifact(options, place, captured, console)
