"""Cut texts into pieces that are tokenised together, and rows of ids into batches that run together.

Pure: sizes in, indices out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from poolfold.manifest import RunMemory

TOKENS = 4096
"""Places of a batch, padding included, from which more rows bring no more tokens a second on a CPU."""

ENOUGH = 512
"""Places from which a batch needs no company of rows that would be padding by more than half."""


class Budget(NamedTuple):
    """What one run may take on a CPU.

    memory: bytes.
    run: what a run takes.
    """

    memory: int
    run: RunMemory

    def rows(self, seq: int, behind: int = 0) -> int:
        """Rows of a length that fit into the memory; at least 1, as a row that is too large by itself still runs."""
        return max(1, self.memory // max(1, self.run.bytes_of(1, seq, behind)))

    def ends(self, rows: int, seq: int, length: int, behind: int) -> bool:
        """Whether a batch of rows of up to `seq` tokens ends before a row of another length, which is no longer."""
        unlike = rows * seq >= ENOUGH and 2 * length < seq
        return unlike or (rows + 1) * seq > TOKENS or rows == self.rows(seq, behind)


def batches(
    lengths: Sequence[int], batch_size: int, budget: Budget | None = None, behind: int = 0
) -> Iterator[list[int]]:
    """Batches of rows by their indices, longest first, so that little padding is computed.

    Args:
        lengths: tokens of each row.
        batch_size: the most rows in a batch.
        budget: beyond which a row runs alone; None on a GPU, where full batches are the faster ones whatever they take.
        behind: tokens of a folded prompt before each row.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (
            len(batch) == batch_size
            or (budget is not None and budget.ends(len(batch), lengths[batch[0]], lengths[row], behind))
        ):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pieces(texts: Iterable[str], most_texts: int, most_characters: int) -> Iterator[list[str]]:
    """Texts in lists of at most so many, and of so many characters unless one text has more. None of them is empty."""
    piece: list[str] = []
    characters = 0
    for text in texts:
        if piece and (len(piece) == most_texts or characters + len(text) > most_characters):
            yield piece
            piece, characters = [], 0
        piece.append(text)
        characters += len(text)
    if piece:
        yield piece
