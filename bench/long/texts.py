"""Texts of known lengths, in a tokenizer whose tokens are bytes and which adds one special token."""

import numpy as np
import numpy.typing as npt

_SEED = 0
_MEDIAN, _SIGMA = 400, 0.7
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz    ", np.uint8)


def documents(number: int, longest: int, limit: int) -> list[str]:
    """Documents of log-normal lengths around 400 tokens, `longest` of which have `limit` tokens; in random order."""
    rng = np.random.default_rng(_SEED)
    lengths = np.clip(np.rint(rng.lognormal(np.log(_MEDIAN), _SIGMA, number)), 8, limit).astype(np.int64)
    lengths[rng.choice(number, longest, replace=False)] = limit
    return _texts(lengths, rng)


def short_texts(number: int) -> list[str]:
    """Texts of 10 to 60 tokens."""
    rng = np.random.default_rng(_SEED)
    return _texts(rng.integers(10, 61, number), rng)


def _texts(lengths: npt.NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """Words of random letters; a text of n tokens is n - 1 bytes, with a letter at either end, which nothing strips."""
    letters = rng.choice(_LETTERS, int(lengths.sum())).tobytes().decode()
    ends = np.cumsum(lengths).tolist()
    return [f"a{letters[end - n : end - 3]}z" for end, n in zip(ends, lengths.tolist(), strict=True)]
