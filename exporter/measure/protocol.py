"""What a worker and its parent say to each other: one JSON object a line, each request answered by one reply.

JSON rather than pickled objects: a batch of token ids is small, and a malformed line is an error, not code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

Embed = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""`embed(input_ids, attention_mask)`: int64 [batch, seq] each -> float32 [batch, dim]."""


class Load(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """First request: load a system; the fields are those of `systems.System`."""

    load: str
    arguments: Mapping[str, object]
    threads: int


class Loaded(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Reply. `before_load_bytes`: resident memory with the libraries imported and no model; None where unknown."""

    before_load_bytes: int | None


class Run(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Request: a window. `untimed` calls, then `timed` calls back to back; rows are [batch][seq]."""

    input_ids: list[list[int]]
    attention_mask: list[list[int]]
    untimed: int
    timed: int


class Ran(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Reply: the seconds of each timed call, in order, and the peak of resident memory since the request came."""

    seconds: list[float]
    peak_bytes: int | None
