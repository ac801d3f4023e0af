"""Which places of a batch hold tokens: the further input of graphs and engines that compute real tokens only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def token_positions(attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of the tokens in a batch laid out as one row, int64 [1, tokens], rising.

    The first place counts as a token whatever the mask says of it, as the graphs expect: there is one at least then.

    Args:
        attention_mask: int64 [batch, seq], 1 on tokens and 0 on padding.
    """
    is_token = attention_mask.reshape(-1) > 0
    is_token[:1] = True
    return np.flatnonzero(is_token).astype(np.int64, copy=False)[None, :]
