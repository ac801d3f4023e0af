"""Pooling strategies and the exact definition of each mode.

The names are those of sentence-transformers. `pool` defines the modes in numpy; the PyTorch reference and the ONNX
graph are tested against it. A row whose mask holds no token gives zeros in every mode.

Source: sentence-transformers, `Pooling`; the result for rows without a token is this project's definition.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt


class PoolingMode(StrEnum):
    """How token vectors become one vector. "First" and "last" count unmasked tokens, on either padding side."""

    CLS = "cls"
    """The first token's vector."""
    MEAN = "mean"
    """The average."""
    MAX = "max"
    """The largest value of each dimension."""
    MEAN_SQRT_LEN_TOKENS = "mean_sqrt_len_tokens"
    """The sum divided by the square root of the number of tokens."""
    WEIGHTEDMEAN = "weightedmean"
    """The average, each token weighted by its distance from the first unmasked one (weight 1), pooled or not."""
    LASTTOKEN = "lasttoken"
    """The last token's vector."""


Strategy = tuple[PoolingMode, ...]
"""One mode, or several; their vectors are concatenated in this order."""


def strategy_name(strategy: Strategy) -> str:
    """The name of a strategy on the command line, in the manifest and in file names: modes joined by `+`."""
    return "+".join(strategy)


def parse_strategy(name: str) -> Strategy:
    """The inverse of `strategy_name`.

    Raises:
        ValueError: a mode is unknown, or named twice.
    """
    names = ", ".join(PoolingMode)
    modes = []
    for part in name.split("+"):
        if part not in set(PoolingMode):
            raise ValueError(f"unknown pooling {part!r} in {name!r}; expected one of {names}, or several joined by '+'")
        modes.append(PoolingMode(part))
    if len(set(modes)) != len(modes):
        raise ValueError(f"pooling {name!r} names a mode twice")
    return tuple(modes)


def pool(
    hidden: npt.NDArray[np.floating], mask: npt.NDArray[np.integer], strategy: Strategy
) -> npt.NDArray[np.float32]:
    """Pool token vectors.

    Args:
        hidden: token vectors, float [batch, seq, hidden].
        mask: attention mask, integer [batch, seq]; 1 marks a token, 2 one that the encoder sees and no mode pools.
        strategy: the modes to concatenate.

    Returns:
        float32 [batch, len(strategy) * hidden].
    """
    rows = [
        np.concatenate([_pool_row(h[m == 1].astype(np.float64), _places(m), mode) for mode in strategy])
        for h, m in zip(hidden, mask, strict=True)
    ]
    return np.stack(rows).astype(np.float32)


def _places(mask: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """Places of the pooled tokens of a row, counted from its first token, int [tokens]."""
    return np.flatnonzero(mask == 1) - np.flatnonzero(mask > 0)[:1]


def _pool_row(
    tokens: npt.NDArray[np.float64], places: npt.NDArray[np.intp], mode: PoolingMode
) -> npt.NDArray[np.float64]:
    """Pool one row's unmasked tokens, float64 [tokens, hidden]; `places` count from the row's first token."""
    if not len(tokens):
        return np.zeros(tokens.shape[1])
    match mode:
        case PoolingMode.CLS:
            return np.asarray(tokens[0])
        case PoolingMode.LASTTOKEN:
            return np.asarray(tokens[-1])
        case PoolingMode.MAX:
            return np.asarray(tokens.max(axis=0))
        case PoolingMode.MEAN:
            return np.asarray(tokens.mean(axis=0))
        case PoolingMode.MEAN_SQRT_LEN_TOKENS:
            return np.asarray(tokens.sum(axis=0) / np.sqrt(len(tokens)))
        case PoolingMode.WEIGHTEDMEAN:
            return np.asarray(np.average(tokens, axis=0, weights=places + 1))
