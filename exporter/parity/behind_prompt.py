"""Whether a candidate gives the same vector behind a folded prompt as when it computes the prompt with each text."""

from __future__ import annotations

import dataclasses

from exporter.parity.compare import cosines
from exporter.parity.report import PROMPT, Check, at_least
from exporter.parity.tokens import Tokens
from poolfold.encoder import Encoder

_TEXTS = 12
_LONGEST = 64
"""Tokens: texts are short behind an instruction, and the whole run is as long again."""
_BATCH = 6
"""Texts in a batch: some of different lengths, so that there is padding."""


def check_prompts(encoder: Encoder, tokens: Tokens, limit: float) -> Check | None:
    """The smallest cosine of a text's vector with that of the whole run, over all folded prompts; None without any.

    Args:
        encoder: the candidate.
        tokens: the texts, some of which are taken.
        limit: what the cosine is held to.
    """
    if not encoder.folded:
        return None
    whole = dataclasses.replace(encoder, folded={})
    # A row that was cut is not the whole text.
    longest = min(_LONGEST, max(map(len, tokens.rows)) - 1)
    short = [text for text, row in zip(tokens.texts, tokens.rows, strict=True) if len(row) <= longest]
    chosen = (short or list(tokens.texts))[:: max(1, len(short) // _TEXTS)]
    values: list[float] = []
    named: list[str] = []
    for prompt in encoder.folded:
        got, wanted = (e.encode(chosen, batch_size=_BATCH, prompt=prompt, truncate=True) for e in (encoder, whole))
        values += cosines(wanted, got).tolist()
        named += [prompt + text for text in chosen]
    return at_least(PROMPT, values, limit, named)
