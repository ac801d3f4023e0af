"""What the users of an export without pooling write behind it: pool in numpy, and scale to unit length.

Written as fast as numpy allows: the mean is one matrix product, without a copy of the token vectors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def cls(hidden: Floats, attention_mask: npt.NDArray[np.int64]) -> Floats:
    """The first token's vector: float32 [batch, seq, hidden], padded on the right -> float32 [batch, hidden]."""
    return _unit_length(hidden[:, 0])


def mean(hidden: Floats, attention_mask: npt.NDArray[np.int64]) -> Floats:
    """The average of the unmasked tokens: float32 [batch, seq, hidden] -> float32 [batch, hidden]."""
    mask = attention_mask.astype(np.float32)
    return _unit_length((mask[:, None, :] @ hidden)[:, 0] / mask.sum(axis=1, keepdims=True))


def _unit_length(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


POOLS = {"cls": cls, "mean": mean}
