"""Which rows run alike: those behind a folded prompt, and all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from poolfold.sessions.behind_prompt import Folded, Run
from poolfold.tokenise import Budget, batches


class Part(NamedTuple):
    """Rows that run alike.

    rows: index of a text -> its ids, or those behind a folded prompt.
    left_out: tokens at the beginning of each that the pooling leaves out.
    behind: tokens of the folded prompt.
    run: computes a batch; None for the whole run.
    """

    rows: Mapping[int, Sequence[int]]
    left_out: int
    padding_side: str
    behind: int
    run: Run | None

    def batches(self, batch_size: int, budget: Budget | None) -> Iterator[list[int]]:
        """The indices of texts that run together."""
        indices = list(self.rows)
        for batch in batches([len(row) for row in self.rows.values()], batch_size, budget, self.behind):
            yield [indices[place] for place in batch]


def parts(rows: Sequence[Sequence[int]], left_out: int, padding_side: str, folded: Folded | None) -> tuple[Part, ...]:
    """The rows behind a folded prompt, and all others."""
    behind = {} if folded is None else folded.behind(rows)
    others = Part({i: row for i, row in enumerate(rows) if i not in behind}, left_out, padding_side, 0, None)
    if folded is None:
        return (others,)
    # Padding on the left would lie between the prompt and the text.
    count = len(folded.ids)
    return Part(behind, max(0, left_out - count), "right", count, folded.run), others
