"""Texts to `input_ids` and `attention_mask`, with the checkpoint's own tokeniser.

tokenizer   texts -> ids, cut to the model's limit; rows of ids -> a padded batch
batches     texts -> pieces that are tokenised together; rows -> batches that run together
beginning   the part of a long text that decides its first tokens, where that is provable
"""

from __future__ import annotations

from poolfold.tokenise.batches import Budget, batches, pieces
from poolfold.tokenise.tokenizer import Tokenizer, pad, shorten

__all__ = ["Budget", "Tokenizer", "batches", "pad", "pieces", "shorten"]
