"""The model that an existing artifact came from, found again by its manifest: a checkpoint, or an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.spec.choices import choose_head
from exporter.spec.description import describe_model
from exporter.spec.model import ModelSpec, is_graph
from exporter.spec.reference import Reference
from graphs.pooling.head import Head
from graphs.pooling.strategy import Strategy, parse_strategy
from poolfold.errors import CheckpointError
from poolfold.manifest import Manifest


@dataclass(frozen=True)
class Baseline:
    """What to compare an artifact with: the model, its strategies, and the head the artifact folded."""

    spec: ModelSpec
    strategies: tuple[Strategy, ...]
    head: Head


def find_baseline(manifest: Manifest, model: str | None, *, allow_pickle: bool, trust_remote_code: bool) -> Baseline:
    """Read the model that an artifact was exported from.

    Args:
        manifest: the artifact's.
        model: where the model is now; None for where the manifest says it was.

    Raises:
        CheckpointError: it is not there, or it is another model than the artifact's.
    """
    name = model or manifest.model.source
    # A revision belongs to a hub id; a folder has none, and that of a file is its hash.
    revision = None if model or is_graph(name) or Path(name).is_dir() else manifest.model.revision
    try:
        source = resolve_source(name, revision, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
        spec = read_spec(source, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    except CheckpointError as error:
        raise CheckpointError(
            f"The model that the artifact came from is needed for comparison. {error} Say where it is now with --model."
        ) from None
    if source.graph is not None and model is None and source.revision != manifest.model.revision:
        raise CheckpointError(
            f"{name} has changed since the artifact was made from it: it is {source.revision}, and the artifact says "
            f"{manifest.model.revision}. Export it again, or say with --model where the right one is."
        )
    strategies = tuple(parse_strategy(strategy.name) for strategy in manifest.strategies)
    head = choose_head(spec, strategies, manifest.model.dimensions)
    found, expected = describe_model(spec, head), manifest.model
    for field in ("model_type", "hidden_size", "num_layers", "vocab_size", "modules", "text"):
        if getattr(found, field) != getattr(expected, field):
            raise CheckpointError(
                f"{name} is not the model that the artifact came from: its {field} is {getattr(found, field)!r}, "
                f"and the artifact says {getattr(expected, field)!r}. Say where the right one is with --model."
            )
    return Baseline(spec, strategies, head)


def load_reference(baseline: Baseline, *, allow_pickle: bool, threads: int | None) -> Reference:
    """What gives the baseline's vectors: PyTorch for a checkpoint, ONNX Runtime and numpy for an ONNX file.

    Raises:
        CheckpointError: damaged weights, or a model that cannot be loaded.
    """
    spec = baseline.spec
    if spec.source.graph is not None:
        from exporter.model.onnx_file import GraphReference

        graph = spec.source.graph
        return GraphReference(graph.path, graph.encoder.hidden, baseline.head, width=spec.hidden_size, threads=threads)
    from exporter.model.checkpoint.weights import check_weights
    from exporter.model.pytorch import Reference as PyTorchReference
    from exporter.model.pytorch import load_backbone

    check_weights(spec.transformer, allow_pickle=allow_pickle)
    return PyTorchReference(load_backbone(spec), baseline.head)
