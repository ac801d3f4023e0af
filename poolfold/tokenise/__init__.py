"""Texts to `input_ids` and `attention_mask`, with the checkpoint's own tokeniser.

tokenizer   texts -> ids, cut to the model's limit; rows of ids -> a padded batch
reading     a text or a pair of them; how many tokens are kept, and from which side
twin        a second tokeniser over the same vocabulary, which cuts elsewhere
batches     texts -> pieces that are tokenised together; rows -> batches that run together
beginning   the part of a long text that decides its first tokens, where that is provable
"""

from __future__ import annotations

from poolfold.tokenise.batches import Budget, batches, pieces
from poolfold.tokenise.reading import AS_EXPORTED, Input, Reading
from poolfold.tokenise.tokenizer import Rows, Token, Tokenizer, pad, shorten

__all__ = [
    "AS_EXPORTED",
    "Budget",
    "Input",
    "Reading",
    "Rows",
    "Token",
    "Tokenizer",
    "batches",
    "pad",
    "pieces",
    "shorten",
]
