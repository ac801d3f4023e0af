"""What the user told `export`, read but not yet held against the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType


@dataclass(frozen=True)
class ExportOptions:
    """Everything `poolfold export` can be told. Names are the flags'; `texts` are the lines of the file."""

    model: str
    output: Path
    pooling: tuple[str, ...]
    dtypes: tuple[DType, ...]
    targets: tuple[str, ...]
    batch: tuple[int, int, int]
    seq_len: tuple[int, int, int] | None
    buckets: tuple[int, ...] | str | None
    texts: tuple[str, ...]
    dimensions: int | None
    revision: str | None
    force: bool
    skip_latency: bool
    threads: int | None
    allow_pickle: bool
    trust_remote_code: bool
    build: BuildOptions
