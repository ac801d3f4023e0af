"""What the users of an export without pooling write behind it: pool in numpy, and scale to unit length.

Written as fast as numpy allows: the mean is one matrix product, without a copy of the token vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from exporter.measure.protocol import Pooled

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


def cls(hidden: Floats, attention_mask: Ids) -> Floats:
    """The first token's vector: float32 [batch, seq, hidden], padded on the right -> float32 [batch, hidden]."""
    return _unit_length(hidden[:, 0])


def mean(hidden: Floats, attention_mask: Ids) -> Floats:
    """The average of the unmasked tokens: float32 [batch, seq, hidden] -> float32 [batch, hidden]."""
    mask = attention_mask.astype(np.float32)
    return _unit_length((mask[:, None, :] @ hidden)[:, 0] / mask.sum(axis=1, keepdims=True))


def _unit_length(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


POOLS = {"cls": cls, "mean": mean}


def pooled(forward: Callable[[Ids, Ids], Floats]) -> Pooled:
    """A system for a worker: what gives `last_hidden_state`, and both poolings behind it."""
    return Pooled(forward, POOLS)


def feeds(names: Collection[str], input_ids: Ids, attention_mask: Ids) -> dict[str, Ids]:
    """What a graph with these inputs is fed."""
    more = {"token_type_ids": np.zeros_like(input_ids)} if "token_type_ids" in names else {}
    return {"input_ids": input_ids, "attention_mask": attention_mask, **more}
