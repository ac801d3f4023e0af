"""Texts to `input_ids` and `attention_mask`, with the checkpoint's own tokeniser.

tokenizer   texts -> ids, cut to the model's limit; rows of ids -> a padded batch
beginning   the part of a long text that decides its first tokens, where that is provable
"""

from __future__ import annotations

from poolfold.tokenise.tokenizer import Tokenizer, pad, shorten

__all__ = ["Tokenizer", "pad", "shorten"]
