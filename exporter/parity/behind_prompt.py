"""Whether a candidate gives the same vector behind a folded prompt as when it computes the prompt with each text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from exporter.parity.compare import cosines
from exporter.parity.report import PROMPT, Check, at_least
from poolfold.encoder import Encoder

_TEXTS = 12
_BATCH = 6
"""Texts in a batch: some of different lengths, so that there is padding."""


def check_prompts(encoder: Encoder, texts: Sequence[str], limit: float) -> Check | None:
    """The smallest cosine of a text's vector with that of the whole run, over all folded prompts; None without any.

    Args:
        encoder: the candidate.
        texts: each gives a token; some of them are taken.
        limit: what the cosine is held to.
    """
    if not encoder.folded:
        return None
    whole = dataclasses.replace(encoder, folded={})
    chosen = list(texts[:: max(1, len(texts) // _TEXTS)])
    values: list[float] = []
    named: list[str] = []
    for prompt in encoder.folded:
        got, wanted = (e.encode(chosen, batch_size=_BATCH, prompt=prompt) for e in (encoder, whole))
        values += cosines(wanted, got).tolist()
        named += [prompt + text for text in chosen]
    return at_least(PROMPT, values, limit, named)
