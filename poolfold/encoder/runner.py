"""Rows of ids to vectors, on any session, within a budget of memory. No row that is not finite, or is zero, comes out.

Independent of texts and tokenisers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from poolfold.encoder.parts import Part, parts
from poolfold.errors import ArtifactError, CheckFailed, OutOfMemory
from poolfold.manifest import Output, RunMemory, Text
from poolfold.sessions import Session
from poolfold.sessions.behind_prompt import Folded, Run
from poolfold.sessions.memory import default_memory, in_halves
from poolfold.sessions.outputs import refusals
from poolfold.tokenise import Budget, pad

_SHOWN = 5
_LITTLE = 2**26
"""A run of so many bytes is run without a look at what is free, which takes a tenth of a millisecond and more."""

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Runner:
    """A session, and what its runs take and give.

    label, target: what it is, for messages.
    dim: values of a vector.
    text: which side rows are padded on, and with which id.
    output: what the graph gives, and which rows are refused.
    run_memory: what a run takes on a CPU; None on a GPU, and where it is not known.
    memory: bytes that a run may take by this; None for half of what this process may take when it is called.
    """

    session: Session
    label: str
    target: str
    dim: int
    text: Text
    output: Output
    run_memory: RunMemory | None
    memory: int | None

    def batches(
        self,
        rows: Sequence[Sequence[int]],
        names: Sequence[str],
        batch_size: int,
        *,
        left_out: int = 0,
        folded: Folded | None = None,
    ) -> Iterator[tuple[list[int], Vectors]]:
        """Run rows, those of like length together.

        Args:
            rows: ids of each text.
            names: of each text, for messages.
            batch_size: the most rows in a run.
            left_out: tokens at the beginning of each row that the pooling leaves out.
            folded: the prompt that the rows begin with, where it need not be computed.

        Yields:
            The indices of the rows of a batch, and their vectors.
        """
        longest, behind = max(map(len, rows)), 0 if folded is None else len(folded.ids)
        budget = self._budget(min(batch_size, len(rows)), longest, behind)
        for part in parts(rows, left_out, self.text.padding_side, folded):
            for batch in part.batches(batch_size, budget):
                run = partial(self._run_rows, part, batch, [names[index] for index in batch])
                yield batch, in_halves(run, 0, len(batch))

    def ids(self, input_ids: Ids, attention_mask: Ids) -> Vectors:
        """Run a batch as it is: int64 [batch, seq] twice, one row or more -> float32 [batch, dim]."""
        budget = self._budget(*input_ids.shape)
        rows, seq = input_ids.shape
        step = rows if budget is None else budget.rows(seq)
        run = partial(self._run_ids, input_ids, attention_mask)
        made = [in_halves(run, start, min(start + step, rows)) for start in range(0, rows, step)]
        return made[0] if len(made) == 1 else np.concatenate(made)

    def refuse(self, vectors: Vectors, names: Sequence[str]) -> None:
        """Raise CheckFailed where a vector is none."""
        for reason, rows in refusals(vectors, self.output):
            raise _refused(rows, reason, names)

    def _budget(self, rows: int, seq: int, behind: int = 0) -> Budget | None:
        """What a run may take, where at most `rows` of `seq` tokens run at once, behind a folded prompt or not."""
        if self.run_memory is None:
            return None
        memory = self.memory
        if memory is None:
            needed = self.run_memory.bytes_of(rows, seq, behind)
            memory = _LITTLE if needed <= _LITTLE else default_memory()
        return Budget(memory, self.run_memory)

    def _run_rows(self, part: Part, batch: Sequence[int], names: Sequence[str], start: int, stop: int) -> Vectors:
        """Run rows `start` to `stop` of a batch, padded to the longest among them."""
        rows = [part.rows[index] for index in batch[start:stop]]
        padded = pad(rows, part.padding_side, self.text.pad_token_id, left_out=[part.left_out] * len(rows))
        return self._run(*padded, names[start:stop], part.run or self.session.run)

    def _run_ids(self, ids: Ids, mask: Ids, start: int, stop: int) -> Vectors:
        """Run rows `start` to `stop` of ids and their mask, as they are."""
        names = [f"row {index}" for index in range(start, stop)]
        return self._run(ids[start:stop], mask[start:stop], names, self.session.run)

    def _run(self, input_ids: Ids, attention_mask: Ids, names: Sequence[str], run: Run) -> Vectors:
        """Run a batch and check every row; `names` has a name of each row for messages."""
        try:
            vectors = run(input_ids, attention_mask)
        except OutOfMemory as error:
            if len(names) > 1:
                raise
            asked = "" if error.asked is None else f" ({self.target} asked for {error.asked / 2**20:,.0f} MiB at once)"
            raise OutOfMemory(
                f"{names[0]} of {np.count_nonzero(attention_mask)} tokens takes more memory than this process may "
                f"have{asked}. Free some, raise the limit, run fewer calls at once, or shorten the text: "
                "`poolfold export --max-seq-length` does for all.",
                error.asked,
            ) from error
        expected = (len(names), self.dim)
        if vectors.dtype != self.output.dtype or vectors.shape != expected:
            raise ArtifactError(
                f"the {self.label} model gave {vectors.dtype} {list(vectors.shape)}; "
                f"expected {self.output.dtype} {list(expected)}, as its manifest says. Export the model again."
            )
        self.refuse(vectors, names)
        return vectors


def _refused(rows: npt.NDArray[np.intp], reason: str, names: Sequence[str]) -> CheckFailed:
    """The error for rows that are not returned."""
    shown = ", ".join(names[row] for row in rows[:_SHOWN])
    more = f" and {rows.size - _SHOWN} more" if rows.size > _SHOWN else ""
    return CheckFailed(
        f"the vector is {reason} for {shown}{more}; expected finite values, not all zero. Nothing is returned. "
        "Try dtype fp32, and `poolfold validate` on these texts."
    )
