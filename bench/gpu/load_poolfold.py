"""In a worker: what an artifact runs on a target, through `poolfold.load`, the loader that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import poolfold
from exporter.measure.protocol import Embed


def load(directory: str, strategy: str, dtype: str, target: str, provider: str, threads: int) -> Embed:
    """The encoder's `embed`; arguments as `poolfold.load`. An empty `provider` is the target's own default."""
    chosen: dict[str, Any] = {"provider": provider} if provider else {}
    encoder = poolfold.load(Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads, **chosen)
    return encoder.embed
