"""The id that pads: one that the embedding table has a row for. Padding is masked; its row never reaches a vector."""

from __future__ import annotations

import logging
from typing import Any

from exporter.model.checkpoint.tokenizer_readings import Readings
from poolfold.errors import CheckpointError

log = logging.getLogger(__name__)


def pad_token_id(readings: Readings, vocab_size: int) -> int:
    """The padding token that is named and exists, else config.json's, else the end token.

    The vocabulary of the reading that counts is asked: transformers makes up a padding token where a class expects one.

    Args:
        readings: the tokenizer, and what stands beside it.
        vocab_size: rows of the embedding table.

    Raises:
        CheckpointError: there is no such token.
    """
    config, library = readings.config, readings.library

    def number(token: Any) -> int | None:
        token_id = readings.tokenizer.token_to_id(token) if isinstance(token, str) else None
        return token_id if token_id is not None and token_id < vocab_size else None

    stated = (readings.padding or {}).get("pad_token")
    named = [config.role("pad_token"), stated, None if library is None else library.pad_token]
    for token in named:
        if (token_id := number(token)) is not None:
            return token_id
    # Where no token is named at all, config.json is often a copy that nothing reads.
    if any(named) and config.pad_token_id is not None and 0 <= config.pad_token_id < vocab_size:
        return config.pad_token_id
    end = config.role("eos_token") or (None if library is None else library.eos_token)
    token_id = number(end)
    if token_id is None:
        raise CheckpointError(
            f"{readings.folder}: the tokenizer has no padding token. Set pad_token in tokenizer_config.json."
        )
    log.warning("the tokenizer has no padding token; padding with its end token %r", end)
    return token_id
