"""A model and its strategies as the manifest describes them."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.spec.model import STATIC, ModelSpec
from graphs.pooling.head import Dense, Head, Truncate, cut_of
from graphs.pooling.strategy import Strategy, strategy_name
from poolfold import manifest as m


def describe_model(spec: ModelSpec, head: Head, source_sha256: str | None) -> m.Model:
    """The manifest's view of a checkpoint, whose files have the hash `source_sha256`."""
    modules = (
        STATIC if spec.model_type == STATIC else "transformer",
        "pooling",
        *(type(part).__name__.lower() for part in head),
    )
    cut = cut_of(head)
    return m.Model(
        source=spec.source.public_name,
        revision=spec.source.revision,
        model_type=spec.model_type,
        hidden_size=spec.hidden_size,
        num_layers=spec.num_layers,
        vocab_size=spec.vocab_size,
        trained_strategy=None if spec.trained is None else strategy_name(spec.trained),
        modules=modules,
        dimensions=cut.dimensions,
        renormalized=cut.renormalize,
        source_sha256=source_sha256,
        similarity=spec.similarity,
        text=spec.text,
        tokenizer=spec.tokenizer,
        matryoshka_dimensions=spec.matryoshka_dimensions,
    )


def describe_strategies(spec: ModelSpec, strategies: Iterable[Strategy], head: Head) -> tuple[m.Strategy, ...]:
    """The manifest's view of the strategies."""
    return tuple(
        m.Strategy(name=strategy_name(s), trained=s == spec.trained, dim=embedding_dim(spec, s, head))
        for s in strategies
    )


def embedding_dim(spec: ModelSpec, strategy: Strategy, head: Head) -> int:
    """How many values a vector has after the pooling and the head."""
    dim = len(strategy) * spec.hidden_size
    for part in head:
        match part:
            case Dense():
                dim = len(part.weight)
            case Truncate():
                dim = min(dim, part.dimensions)
    return dim
