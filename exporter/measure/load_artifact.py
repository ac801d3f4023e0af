"""In a worker: load what an artifact runs through `poolfold.load`, the loader that ships."""

from __future__ import annotations

import warnings
from pathlib import Path

import tokenizers  # noqa: F401  # so that memory before the load counts it

import poolfold
from exporter.measure.protocol import Embed
from poolfold.sessions.targets import find_target


def prepare(*, target: str, **_: object) -> None:
    """Import the libraries of a target and of no other, so that memory before the load counts them."""
    find_target(target).prepare()


def load(directory: str, strategy: str, dtype: str, target: str, threads: int, provider: str = "cpu") -> Embed:
    """The encoder's `embed`; arguments as `poolfold.load`."""
    encoder = poolfold.load(
        Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads, provider=provider
    )
    # What is timed need not be proven.
    warnings.filterwarnings("ignore", "a text has .* tokens", UserWarning)
    return encoder.embed
