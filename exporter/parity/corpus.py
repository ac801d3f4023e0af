"""Our own texts, on which every artifact is held against PyTorch.

Many languages and scripts, and what a tokeniser or a pooling step may stumble over: nothing at all, white space, one
token, emoji, code, numbers, one word repeated, control characters, both writing directions, more than the model takes.
Most are short, so that a pass over all of them costs little more than a few hundred milliseconds on a small model.
"""

from __future__ import annotations

import json
from importlib import resources
from itertools import cycle, islice

_WORDS = ("tide", "rope", "lamp", "stone", "bread", "cloud", "boat", "salt", "door", "song", "hill", "wheel", "rain")


_AWKWARD_FROM = "empty"
"""In corpus.json: before it texts in many languages, from it on those that something may stumble over."""
_LONG = 512
"""Tokens from which on a text of about each power of two lies between the short ones and the longest."""


def corpus(max_seq_length: int) -> tuple[str, ...]:
    """The texts, all different, the last of which is longer than the limit.

    Args:
        max_seq_length: the limit in tokens; a tokeniser makes at least one token of each word.
    """
    between = tuple(_words(length // 2) for length in lengths_between(max_seq_length))
    return (*_named().values(), *between, _words(max_seq_length + 1))


def lengths_between(max_seq_length: int) -> tuple[int, ...]:
    """Tokens, at the most that is usual, of the corpus' texts between the short ones and the longest."""
    powers = (_LONG << power for power in range(max_seq_length.bit_length()))
    return tuple(length for length in powers if length < max_seq_length)


def awkward() -> tuple[str, ...]:
    """Those of the short texts that something may stumble over."""
    names = list(_named())
    return tuple(list(_named().values())[names.index(_AWKWARD_FROM) :])


def _named() -> dict[str, str]:
    named: dict[str, str] = json.loads(resources.files(__package__).joinpath("corpus.json").read_text("utf-8"))
    return named


def _words(number: int) -> str:
    return " ".join(islice(cycle(_WORDS), number))
