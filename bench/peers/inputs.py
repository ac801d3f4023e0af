"""The batches that are timed, and those whose memory is measured. Every text is of random ordinary tokens.

The ragged batch and the sorted ones hold the same texts: whoever sorts by length before batching pads little, and is
compared as such.
"""

from __future__ import annotations

import numpy as np

from exporter.measure.workloads import Batch, Workload, ordinary_ids, ragged_lengths
from exporter.spec.model import ModelSpec
from poolfold.tokenise import pad

SHORT, USUAL, LONG = 16, 128, 512
ROWS, SORTED_ROWS = 32, 4

ALONE = tuple(f"1x{tokens}" for tokens in (SHORT, USUAL, LONG))
FULL = f"{ROWS}x{USUAL}"
RAGGED = f"{FULL} ragged"
SORTED = f"{FULL} sorted"
WORKLOADS = (RAGGED, SORTED, FULL, *ALONE)
"""In the order of the documents."""

_SEED = 0


def timed(spec: ModelSpec) -> tuple[Workload, ...]:
    """The workloads for a model, smallest first.

    Rows are padded on the right, as BERT's are. The sorted texts lie in batches of SORTED_ROWS, each as wide as its
    longest text.
    """
    rng = np.random.default_rng(_SEED)
    ordinary = ordinary_ids(spec.text, spec.vocab_size, spec.tokenizer_json)

    def texts(lengths: list[int]) -> list[list[int]]:
        return [rng.choice(ordinary, size=length).tolist() for length in lengths]

    def batch(rows: list[list[int]]) -> Batch:
        return Batch(*pad(rows, "right", spec.text.pad_token_id))

    alone = [Workload(f"1x{tokens}", (batch(texts([tokens])),)) for tokens in (SHORT, USUAL, LONG)]
    ragged = texts(ragged_lengths(rng, ROWS, USUAL).tolist())
    in_order = sorted(ragged, key=len)
    return (
        *alone,
        Workload(SORTED, tuple(batch(in_order[at : at + SORTED_ROWS]) for at in range(0, ROWS, SORTED_ROWS))),
        Workload(RAGGED, (batch(ragged),)),
        Workload(FULL, (batch(texts([USUAL] * ROWS)),)),
    )


def largest(spec: ModelSpec) -> Workload:
    """The batch whose memory is measured: ROWS texts of LONG tokens."""
    ids = np.random.default_rng(_SEED).choice(
        ordinary_ids(spec.text, spec.vocab_size, spec.tokenizer_json), size=(ROWS, LONG)
    )
    return Workload(f"{ROWS}x{LONG}", (Batch(ids, np.ones_like(ids)),))


def shapes(workloads: tuple[Workload, ...]) -> list[list[int]]:
    """The distinct shapes, (rows, tokens), of all batches."""
    found = {tuple(int(n) for n in batch.input_ids.shape) for w in workloads for batch in w.batches}
    return [list(shape) for shape in sorted(found)]
