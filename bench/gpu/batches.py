"""The batches that are timed: 1, 32 and 256 texts of random ordinary tokens, full or ragged."""

from __future__ import annotations

import numpy as np

from exporter.measure.workloads import Batch, Workload, ordinary_ids, ragged_lengths
from exporter.spec.model import ModelSpec
from poolfold.tokenise import pad

TOKENS = 128
ALONE = f"1x{TOKENS}"
FULL = (f"32x{TOKENS}", f"256x{TOKENS}")
RAGGED = tuple(f"{name} ragged" for name in FULL)
WORKLOADS = (ALONE, *FULL, *RAGGED)
"""In the order of the documents."""

_SEED = 0


def timed(spec: ModelSpec) -> tuple[Workload, ...]:
    """The workloads for a model, smallest first; ragged lengths are log-normal, about half of all tokens."""
    rng = np.random.default_rng(_SEED)
    ordinary = ordinary_ids(spec.text, spec.vocab_size, spec.tokenizer_json)

    def batch(name: str, lengths: list[int]) -> Workload:
        rows = [rng.choice(ordinary, size=length).tolist() for length in lengths]
        return Workload(name, (Batch(*pad(rows, spec.text.padding_side, spec.text.pad_token_id)),))

    found = [batch(ALONE, [TOKENS])]
    for rows, full, ragged in zip((32, 256), FULL, RAGGED, strict=True):
        found.append(batch(ragged, ragged_lengths(rng, rows, TOKENS).tolist()))
        found.append(batch(full, [TOKENS] * rows))
    return tuple(found)
