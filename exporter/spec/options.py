"""What the user asked of `export`, before the model is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.spec.origin import TokenizerSource, Trust
from graphs.pooling.head import Cut
from poolfold.errors import InputError

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


VALIDATE_SECONDS = 120.0
"""What validation takes where nobody says."""
_SHORTEST = 3
"""Tokens of a text between two special ones."""


@dataclass(frozen=True)
class Validation:
    """How much is proven.

    seconds: what the reference and all candidates take together.
    length: tokens up to which is proven whatever it takes; None for as far as the seconds reach.
    """

    seconds: float = VALIDATE_SECONDS
    length: int | None = None

    def require_within(self, limit: int) -> None:
        """Raise InputError where the length is beyond the model's limit."""
        if self.length is not None and self.length > limit:
            raise InputError(f"--validate-length {self.length} is more than the {limit} tokens that the model takes.")


def read_validation(seconds: float | None, length: int | None) -> Validation:
    """What a user said; None for nothing.

    Raises:
        InputError: both, or what is no time or no length.
    """
    if seconds is not None and length is not None:
        raise InputError(
            f"got --validate-seconds {seconds:g} and --validate-length {length}, which proves that length whatever it "
            "takes. Leave one out."
        )
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"--validate-seconds is {seconds:g}; expected seconds, more than 0.")
    if length is not None and length < _SHORTEST:
        raise InputError(f"--validate-length is {length}; expected tokens of a text, {_SHORTEST} or more.")
    return Validation(VALIDATE_SECONDS if seconds is None else seconds, length)


INT8_FLOOR = 0.99
"""The smallest cosine that a text may have in 8 bits where nobody says."""
_CALIBRATE_EVERY, _CALIBRATE_MOST, _CALIBRATE_FROM = 4, 128, 16
"""One of so many of a user's texts makes what is in 8 bits, and the others judge it; of few texts all judge."""


def read_floor(floor: float | None, dtypes: Sequence[DType]) -> float:
    """What a user said; None for nothing.

    Raises:
        InputError: no cosine below 1, or one where nothing is in 8 bits.
    """
    if floor is None:
        return INT8_FLOOR
    if not any(dtype.in_8_bits for dtype in dtypes):
        raise InputError(f"--int8-floor {floor} needs --dtype int8 or fp8. Add one, or leave the floor out.")
    if not 0 < floor < 1:
        raise InputError(f"--int8-floor is {floor}; expected a cosine between 0 and 1, such as {INT8_FLOOR}.")
    return floor


class Layout(StrEnum):
    """What an artifact is besides poolfold's own."""

    HUB = "hub"
    """A model folder that sentence-transformers, optimum, fastembed and others load."""
    POOLFOLD = "poolfold"
    """Nothing else."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise InputError(f"layout is {value!r}; expected {' or '.join(map(repr, map(str, cls)))}.")


@dataclass(frozen=True)
class ExportOptions:
    """The parameters of `exporter.export`, whose signature has the defaults.

    texts: the user's own, checked besides poolfold's corpus.
    cut: `--dimensions`, and whether what is left is normalised again.
    max_seq_length: tokens of the longest text; None for the model's own limit.
    fold_prompts: further prompts to fold, by name.
    int8_floor: the smallest cosine that any text may have in int8 or fp8.
    layout: whether files of other programs are written besides.
    token_embeddings: whether there is a graph that gives the vectors of tokens.
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
    validation: Validation = Validation()
    int8_floor: float = INT8_FLOOR
    layout: Layout = Layout.HUB
    token_embeddings: bool = True

    @property
    def calibrating(self) -> tuple[str, ...]:
        """Those of the user's texts that graphs in 8 bits are made by; none of them judges anything."""
        if not any(dtype.in_8_bits for dtype in self.dtypes) or len(self.texts) < _CALIBRATE_FROM:
            return ()
        return self.texts[::_CALIBRATE_EVERY][:_CALIBRATE_MOST]

    @property
    def judging(self) -> tuple[str, ...]:
        """Those of the user's texts that the artifact is checked on."""
        calibrating = set(self.calibrating)
        return tuple(text for text in self.texts if text not in calibrating)
