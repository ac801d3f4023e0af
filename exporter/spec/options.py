"""What the user asked of `export`, before the model is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.spec.origin import TokenizerSource, Trust
from graphs.pooling.head import Cut

LATENCY, PADDING = "latency", "padding"
"""The measuring stages, as a terminal and the manifest's `latency_left_out` call them."""

Triple = tuple[int, int, int]
"""Least, usual and largest."""


@dataclass(frozen=True)
class Shapes:
    """The shapes that engines accept, as a user says them.

    batch: texts in a batch.
    seq_len: tokens of a text; None for all that the model takes.
    buckets: rising lengths, a profile each, instead of `seq_len`; `auto` derives them from the user's texts.
    """

    batch: Triple
    seq_len: Triple | None
    buckets: tuple[int, ...] | str | None


@dataclass(frozen=True)
class ExportOptions:
    """The parameters of `exporter.export`, whose signature has the defaults.

    texts: the user's own, checked besides poolfold's corpus.
    cut: `--dimensions`, and whether what is left is normalised again.
    max_seq_length: tokens of the longest text; None for the model's own limit.
    fold_prompts: further prompts to fold, by name.
    shapes: of engines; None where none is built.
    """

    model: str
    output: Path
    pooling: tuple[str, ...]
    dtypes: tuple[DType, ...]
    targets: tuple[str, ...]
    shapes: Shapes | None
    build: BuildOptions
    texts: tuple[str, ...]
    cut: Cut
    revision: str | None
    force: bool
    skip_latency: bool
    bench_seconds: int
    threads: int | None
    trust: Trust
    tokenizer: TokenizerSource = TokenizerSource.FILE
    max_seq_length: int | None = None
    fold_prompts: Mapping[str, str] = field(default_factory=dict)
