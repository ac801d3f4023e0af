"""In a worker: load what an artifact runs in OpenVINO through `poolfold.load`, the loader that ships.

Importing this module imports OpenVINO and its CPU plugin, so that memory before the load counts them; see `worker`.
"""

from __future__ import annotations

from pathlib import Path

import tokenizers  # noqa: F401

import poolfold
from exporter.measure.protocol import Embed
from poolfold.sessions.openvino import require_precision

require_precision("fp32")


def load(directory: str, strategy: str, dtype: str, target: str, threads: int) -> Embed:
    """The encoder's `embed`; arguments as `poolfold.load`."""
    encoder = poolfold.load(Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads)
    return encoder.embed
