"""The batches that are timed, and those whose memory is measured. Every text is of random ordinary tokens."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.measure.workloads import Batch, Workload, filled, ordinary_ids, ragged_lengths
from exporter.spec.model import ModelSpec
from poolfold.manifest import Text

SHORT, USUAL, LONG = 16, 128, 512
ROWS, MANY_ROWS, SORTED_ROWS = 32, 256, 4

ALONE = tuple(f"1x{tokens}" for tokens in (SHORT, USUAL, LONG))
FULL, MANY = f"{ROWS}x{USUAL}", f"{MANY_ROWS}x{USUAL}"
RAGGED, SORTED, MANY_RAGGED = f"{FULL} ragged", f"{FULL} sorted", f"{MANY} ragged"

LARGEST = f"{ROWS}x{LONG}"
"""The batch whose memory is measured."""

ON_PROCESSOR = (RAGGED, SORTED, FULL, *ALONE)
ON_GPU = (f"1x{USUAL}", FULL, MANY, RAGGED, MANY_RAGGED)
"""In the order of the documents."""

_SEED = 0


def timed(spec: ModelSpec, names: Sequence[str]) -> tuple[Workload, ...]:
    """Workloads by their names, smallest first.

    Ragged lengths are log-normal, about half of all tokens. The sorted texts are those of the ragged batch, in batches
    of SORTED_ROWS, each as wide as its longest text: whoever sorts by length before batching is compared as such.
    """
    rng = np.random.default_rng(_SEED)
    ordinary = ordinary_ids(spec.text, spec.vocab_size, spec.tokenizer_json)
    ragged = {rows: ragged_lengths(rng, rows, USUAL).tolist() for rows in (ROWS, MANY_ROWS)}

    def workload(name: str) -> Workload:
        shape, _, kind = name.partition(" ")
        if not kind:
            return full(name, spec.text, spec.vocab_size, spec.tokenizer_json)
        # The same texts whether sorted or not.
        batch = filled(ragged[int(shape.split("x")[0])], ordinary, spec.text, np.random.default_rng(_SEED))
        return Workload(name, _sorted(batch) if kind == "sorted" else (batch,))

    return tuple(sorted((workload(name) for name in names), key=lambda w: w.tokens))


def full(name: str, text: Text, vocab_size: int, tokenizer_json: str) -> Workload:
    """Rows without padding, as many and as long as the name says."""
    rows, tokens = map(int, name.split("x"))
    ids = ordinary_ids(text, vocab_size, tokenizer_json)
    return Workload(name, (filled([tokens] * rows, ids, text, np.random.default_rng(_SEED)),))


def shapes(workloads: Sequence[Workload]) -> list[list[int]]:
    """The distinct shapes, (rows, tokens), of all batches."""
    distinct = {tuple(int(n) for n in batch.input_ids.shape) for w in workloads for batch in w.batches}
    return [list(shape) for shape in sorted(distinct)]


def _sorted(batch: Batch) -> tuple[Batch, ...]:
    """The rows from the shortest to the longest; padding lies on the right, as BERT's does."""
    order = np.argsort(batch.attention_mask.sum(axis=1), kind="stable")
    parts = [order[at : at + SORTED_ROWS] for at in range(0, len(order), SORTED_ROWS)]

    def part_of(rows: npt.NDArray[np.int64]) -> Batch:
        width = int(batch.attention_mask[rows].sum(axis=1).max())
        return Batch(*(np.ascontiguousarray(array[rows, :width]) for array in batch))

    return tuple(part_of(rows) for rows in parts)
