"""The PyTorch model that an existing artifact came from, found again by its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.artifact import describe_model
from exporter.checkpoint.read import read_spec
from exporter.checkpoint.source import resolve_source
from exporter.request import choose_head
from exporter.spec import ModelSpec
from graphs.head import Head
from graphs.strategy import Strategy, parse_strategy
from poolfold.errors import CheckpointError
from poolfold.manifest import Manifest


@dataclass(frozen=True)
class Baseline:
    """What to compare an artifact with: the checkpoint, its strategies, and the head the artifact folded."""

    spec: ModelSpec
    strategies: tuple[Strategy, ...]
    head: Head


def find_baseline(manifest: Manifest, model: str | None, *, allow_pickle: bool, trust_remote_code: bool) -> Baseline:
    """Read the checkpoint that an artifact was exported from.

    Args:
        manifest: the artifact's.
        model: where the checkpoint is now; None for where the manifest says it was.

    Raises:
        CheckpointError: it is not there, or it is another model than the artifact's.
    """
    name = model or manifest.model.source
    # A revision belongs to a hub id; a folder has none.
    revision = None if model or Path(name).is_dir() else manifest.model.revision
    try:
        source = resolve_source(name, revision, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
        spec = read_spec(source, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    except CheckpointError as error:
        raise CheckpointError(
            f"The checkpoint that the artifact came from is needed for comparison. {error} "
            "Say where it is now with --model."
        ) from None
    strategies = tuple(parse_strategy(strategy.name) for strategy in manifest.strategies)
    head = choose_head(spec, strategies, manifest.model.dimensions)
    found, expected = describe_model(spec, head), manifest.model
    for field in ("model_type", "hidden_size", "num_layers", "vocab_size", "modules", "text"):
        if getattr(found, field) != getattr(expected, field):
            raise CheckpointError(
                f"{name} is not the checkpoint that the artifact came from: its {field} is {getattr(found, field)!r}, "
                f"and the artifact says {getattr(expected, field)!r}. Say where the right one is with --model."
            )
    return Baseline(spec, strategies, head)
