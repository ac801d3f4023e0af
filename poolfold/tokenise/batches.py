"""Cut texts into pieces that are tokenised together, and rows of ids into batches that run together.

Pure: sizes in, indices out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from poolfold.manifest import RunMemory
from poolfold.tokenise.reading import Input, characters

TOKENS = 2048
"""Places of a batch, padding included, from which more rows make a token dearer on a CPU, as they leave its caches: at
MiniLM's sizes in ONNX Runtime 203 us with 8 rows of 128 tokens, 213 with 16, 244 with 32."""
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
        """Rows of so many tokens that fit; at least 1, as a row that is too large by itself still runs."""
        return max(1, self.memory // max(1, self.run.bytes_of(1, seq, behind)))


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
    longest_first = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(longest_first):
        seq = lengths[longest_first[start]]
        batch = longest_first[start : start + batch_size]
        if budget is not None:
            del batch[min(budget.rows(seq, behind), max(1, TOKENS // seq)) :]
            while len(batch) > 1 and (len(batch) - 1) * seq >= ENOUGH and 2 * lengths[batch[-1]] < seq:
                batch.pop()
        yield batch
        start += len(batch)


def pieces(texts: Iterable[Input], most_texts: int, most_characters: int) -> Iterator[list[Input]]:
    """Texts in lists of at most so many, and of so many characters unless one text has more. None of them is empty."""
    piece: list[Input] = []
    held = 0
    for text in texts:
        size = characters(text)
        if piece and (len(piece) == most_texts or held + size > most_characters):
            yield piece
            piece, held = [], 0
        piece.append(text)
        held += size
    if piece:
        yield piece
