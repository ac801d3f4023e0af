"""What is measured: real weights for what vectors lose, and shapes with random weights for time and memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.batches import FULL
from bench.embedders.checkpoints import EMBEDDERS, make
from bench.models import bert_base, minilm

LIMIT = 256
"""Tokens of the longest text, in every export."""
_SHORT = ("1x16", "1x128", "32x128 ragged")


@dataclass(frozen=True)
class Subject:
    """A model.

    checkpoint: build folder -> the checkpoint, made where it is not there.
    shapes: what is timed, of `batches.timed`.
    real: whether its weights are, so that its vectors say something.
    peers: whether others' int8 is measured beside ours.
    """

    strategy: str
    checkpoint: Callable[[Path], Path]
    shapes: tuple[str, ...]
    real: bool = False
    peers: bool = True


def _published(name: str) -> Subject:
    embedder = EMBEDDERS[name]
    return Subject(embedder.pooling, lambda build: make(embedder, build / name / "checkpoint"), _SHORT, peers=False)


SUBJECTS: Mapping[str, Subject] = {
    "all-MiniLM-L6-v2": Subject("mean", lambda build: minilm(build).checkpoint, (*_SHORT, FULL), real=True),
    "BERT-base": Subject("mean", lambda build: bert_base(build).checkpoint, _SHORT),
    **{name: _published(name) for name in ("EmbeddingGemma-300M", "Qwen3-Embedding-0.6B")},
}
