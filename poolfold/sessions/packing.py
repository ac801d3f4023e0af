"""Positions of the real tokens in a batch: the input `token_positions` of packed graphs and engines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def token_positions(attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of the tokens in the flattened batch, int64 [1, tokens], rising.

    The first position always counts as a token, as the graphs expect, so that there is at least one.

    Args:
        attention_mask: int64 [batch, seq], 1 on tokens and 0 on padding.
    """
    is_token = attention_mask.reshape(-1) > 0
    is_token[:1] = True
    return np.flatnonzero(is_token).astype(np.int64, copy=False)[None, :]
