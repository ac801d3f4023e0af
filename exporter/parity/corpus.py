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


def corpus(max_seq_length: int) -> tuple[str, ...]:
    """The texts, all different, the last of which is longer than the model's limit.

    Args:
        max_seq_length: the model's limit in tokens; a tokeniser makes at least one token of each word.
    """
    named: dict[str, str] = json.loads(resources.files(__package__).joinpath("corpus.json").read_text("utf-8"))
    too_long = " ".join(islice(cycle(_WORDS), max_seq_length + 1))
    return (*named.values(), too_long)
