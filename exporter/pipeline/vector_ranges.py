"""Between which the values of each strategy's vectors lie: needed to keep them in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.artifact.layout import ranges_path
from graphs.pooling.strategy import Strategy
from poolfold import manifest as m
from poolfold.encoder import Ranges


def with_ranges(
    directory: Path,
    strategies: Sequence[Strategy],
    described: Sequence[m.Strategy],
    vectors: Mapping[Strategy, npt.NDArray[np.float32]],
) -> tuple[m.Strategy, ...]:
    """Write the ranges of each strategy, and name their files.

    Args:
        directory: the artifact.
        strategies: of it.
        described: as the manifest describes them, in the same order.
        vectors: the reference's, float32 [texts, dim].
    """
    named = []
    for strategy, entry in zip(strategies, described, strict=True):
        path = directory / ranges_path(strategy)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(Ranges.of(vectors[strategy]).to_bytes())
        named.append(msgspec.structs.replace(entry, ranges=ranges_path(strategy)))
    return tuple(named)
