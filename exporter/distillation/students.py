"""A checkpoint pooled by one strategy or another, as sentence-transformers runs, trains and saves it."""

from __future__ import annotations

from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from exporter.host.quiet import quiet_transformers
from exporter.spec.model import ModelSpec
from graphs.pooling.strategy import Strategy
from poolfold.errors import CheckpointError, first_line


def load_pooled(spec: ModelSpec, strategy: Strategy) -> SentenceTransformer:
    """The checkpoint, fp32, on the best device here, its pooling replaced; the modules after the pooling stay.

    Raises:
        CheckpointError: sentence-transformers cannot load it.
    """
    try:
        with quiet_transformers():
            model = SentenceTransformer(
                str(spec.source.folder),
                trust_remote_code=spec.trust.trust_remote_code,
                local_files_only=True,
                model_kwargs={"dtype": "float32"},
            )
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, AttributeError, KeyError) as error:
        raise CheckpointError(
            f"{spec.source.name}: sentence-transformers cannot load it: {first_line(error)}"
        ) from error
    pooled = [place for place, module in enumerate(model) if isinstance(module, Pooling)]
    if len(pooled) != 1:
        raise CheckpointError(f"{spec.source.name} has {len(pooled)} pooling modules; expected one.")
    old: Any = model[pooled[0]]
    modes = tuple(str(mode) for mode in strategy)
    model[pooled[0]] = Pooling(spec.hidden_size, modes, include_prompt=old.include_prompt)
    return model
