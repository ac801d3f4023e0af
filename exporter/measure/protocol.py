"""What a worker and its parent say to each other: one JSON object a line, each request answered by one reply.

JSON rather than pickled objects: a batch of token ids is small, and a malformed line is an error, not code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Embed = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""`embed(input_ids, attention_mask)`: int64 [batch, seq] each -> float32 [batch, dim]."""


@dataclass(frozen=True)
class Pooled:
    """A system that pools behind its model, which knows no strategy: one forward serves them all.

    forward: int64 [batch, seq] twice -> token vectors, in the form that `pools` take.
    pools: by strategy: token vectors, attention_mask -> float32 [batch, dim].
    """

    forward: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Any]
    pools: Mapping[str, Callable[[Any, npt.NDArray[np.int64]], npt.NDArray[np.float32]]]


class Load(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """First request: load a system; the fields are those of `systems.System`."""

    load: str
    arguments: Mapping[str, object]
    threads: int


class Loaded(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Reply. `before_load_bytes`: resident memory with the libraries imported and no model; None where unknown."""

    before_load_bytes: int | None


class Run(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Request: a window. `untimed` calls, then `timed` calls back to back.

    A call runs each of `batches`, (input_ids, attention_mask) as rows [batch][seq].
    """

    batches: list[tuple[list[list[int]], list[list[int]]]]
    untimed: int
    timed: int


class Ran(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Reply.

    seconds: of each timed call, in order.
    pooled_seconds: by strategy, the same for the forward and that strategy's pooling alone; empty where a system has
        one strategy.
    peak_bytes: peak of resident memory since the request came.
    """

    seconds: list[float]
    pooled_seconds: dict[str, list[float]]
    peak_bytes: int | None
