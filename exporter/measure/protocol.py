"""What a worker is asked and what it answers, and what a system is to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.measure.disturbance import Watched
from exporter.measure.workloads import Batch

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


@dataclass(frozen=True)
class Run:
    """A window: `untimed` calls, then `timed` calls back to back. A call runs each of `batches`."""

    batches: Sequence[Batch]
    untimed: int
    timed: int


@dataclass(frozen=True)
class Ran:
    """What a window gave.

    seconds: of each timed call, in order.
    pooled_seconds: by strategy, the same for the forward and that strategy's pooling alone; empty where a system has
        one strategy.
    peak_bytes: peak of resident memory since the request came; None where the machine does not tell.
    watched: the processors during the timed calls.
    """

    seconds: list[float]
    pooled_seconds: dict[str, list[float]]
    peak_bytes: int | None
    watched: Watched
