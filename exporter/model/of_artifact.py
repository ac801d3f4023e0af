"""The model that an existing artifact came from, found again by its manifest: a checkpoint, or an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.host.libraries import named
from exporter.model.checkpoint.content_hash import content_hash
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.spec.choices import choose_head
from exporter.spec.description import describe_model
from exporter.spec.model import ModelSpec
from exporter.spec.origin import ONNX_FILE, TokenizerSource, Trust, origin_of, source_of
from exporter.spec.reference import OpenModel
from graphs.pooling.head import Cut, Head
from graphs.pooling.strategy import Strategy, parse_strategy
from poolfold.errors import CheckpointError
from poolfold.manifest import Manifest


@dataclass(frozen=True)
class Baseline:
    """What to compare an artifact with: the model, its strategies, and the head the artifact folded."""

    spec: ModelSpec
    strategies: tuple[Strategy, ...]
    head: Head


def find_baseline(manifest: Manifest, model: str | None, trust: Trust) -> Baseline:
    """Read the model that an artifact was exported from.

    Args:
        manifest: the artifact's.
        model: where the model is now; None for the hub id, or in artifacts of 0.2.0 the path, that the manifest has.
        trust: what reading it is allowed to do.

    Raises:
        CheckpointError: it is not there, or it is another model than the artifact's.
        InputError: the manifest does not say where it is.
    """
    name = model or source_of(manifest.model)
    # A revision belongs to a hub id; a folder has none, and that of a file is its hash.
    revision = None if model or origin_of(name) is ONNX_FILE or Path(name).is_dir() else manifest.model.revision
    try:
        source = resolve_source(name, revision, trust)
        reading = manifest.model.tokenizer
        # Earlier releases took the ids of transformers without comparing.
        tokenizer = TokenizerSource(reading.source if reading else TokenizerSource.TRANSFORMERS)
        spec = read_spec(source, trust, tokenizer, longest=manifest.model.text.max_seq_length)
    except CheckpointError as error:
        raise CheckpointError(
            f"The model that the artifact came from is needed for comparison. {error} Say where it is now with --model."
        ) from None
    if source.origin is ONNX_FILE and model is None and source.revision != manifest.model.revision:
        raise CheckpointError(
            f"{name} has changed since the artifact was made from it: it is {source.revision}, and the artifact says "
            f"{manifest.model.revision}. Export it again, or say with --model where the right one is."
        )
    strategies = tuple(parse_strategy(strategy.name) for strategy in manifest.strategies)
    head = choose_head(spec, strategies, Cut(manifest.model.dimensions, manifest.model.renormalized))
    described, expected = describe_model(spec, head, None), manifest.model
    for field in ("model_type", "hidden_size", "num_layers", "vocab_size", "modules", "text"):
        if getattr(described, field) != getattr(expected, field):
            raise CheckpointError(
                f"{name} is not the model that the artifact came from: its {field} is {getattr(described, field)!r}, "
                f"and the artifact says {getattr(expected, field)!r}. Say where the right one is with --model."
            )
    # A checkpoint may be held against an ONNX file made of it, which has other files.
    same_kind = expected.source_sha256 is not None and source.origin is origin_of(expected.source)
    if same_kind and (got := content_hash(spec)) != expected.source_sha256:
        raise CheckpointError(
            f"{name} is not the model that the artifact came from: its files have the SHA-256 {got}, and the "
            f"artifact says {expected.source_sha256}. Say where the right one is with --model."
        )
    return Baseline(spec, strategies, head)


def open_model(spec: ModelSpec, threads: int | None) -> OpenModel:
    """Open a model of either kind; a checkpoint's imports PyTorch.

    Raises:
        CheckpointError: damaged weights, or a model that cannot be loaded.
    """
    model: OpenModel = named(spec.source.origin.model)(spec, threads)
    return model
