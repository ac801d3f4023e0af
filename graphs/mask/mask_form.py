"""What an attention mask means: which keys each query may attend to, found by running the mask's own subgraph.

Exporters write a mask as they compute it, in dozens of ways. What counts is a function of the attention_mask and of two
positions, so the subgraph is evaluated, and the form is accepted only where it gives the same answer everywhere.
Ignorant of how the form is written back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphs.mask.mask_program import Bools, CannotRunError, MaskProgram

_EXHAUSTIVE = (1, 2, 3, 4, 5)
"""Lengths at which every attention_mask there is gets tried."""

_BEYOND = 3
"""How much longer than its reach a mask is tried: what is off by one shows."""

_LONGEST = 8300
"""The longest sequence that is evaluated: a window that reaches further is not recognised."""

_ELEMENTS = 2**20
"""Of the largest mask that is tried with several texts."""


@dataclass(frozen=True)
class MaskForm:
    """Query i may attend to key j where key j is a token and `-ahead <= i - j <= behind`.

    behind, ahead: None for without limit; ahead 0 is causal.
    query_too: only where query i is a token as well.
    """

    behind: int | None
    ahead: int | None
    query_too: bool

    @property
    def by_position(self) -> bool:
        """Whether the positions matter, and not only which keys are tokens."""
        return self.behind is not None or self.ahead is not None

    def allowed(self, mask: npt.NDArray[np.int64]) -> Bools:
        """The form on attention_mask [batch, seq], as bool [batch, seq, seq]."""
        tokens, length = mask > 0, mask.shape[1]
        allowed = np.broadcast_to(tokens[:, None, :], (*mask.shape, length)).copy()
        if self.behind is not None:
            allowed &= ~np.tri(length, k=-self.behind - 1, dtype=np.bool_)
        if self.ahead is not None:
            allowed &= np.tri(length, k=self.ahead, dtype=np.bool_)
        return allowed & tokens[:, :, None] if self.query_too else allowed


def find_form(program: MaskProgram) -> MaskForm | None:
    """The form of a mask, or None where no form agrees with it everywhere it was tried."""
    everything = _everything(program)
    band = None if everything is None else _band(everything)
    if everything is None or band is None:
        return None
    length = len(everything)
    forms = [MaskForm(*band, query_too) for query_too in (False, True)]
    if not np.array_equal(everything, forms[0].allowed(np.ones((1, length), np.int64))[0]):
        return None
    for mask in _masks(length):
        try:
            answer = program.allowed(mask)
        except CannotRunError:
            return None
        forms = [form for form in forms if answer is not None and np.array_equal(answer, form.allowed(mask))]
        if not forms:
            return None
    return forms[0]


def _everything(program: MaskProgram) -> Bools | None:
    """What is allowed without padding, bool [seq, seq], so long that everything in the subgraph has had its effect."""
    if program.reach + _BEYOND > _LONGEST:
        return None
    length = max(int(np.ceil(program.reach)) + _BEYOND, *_EXHAUSTIVE)
    # Longer than a table that is cut to the sequence, the graph itself fails, and nothing can be wrong.
    for n in (length, *(size for size in program.tables if size < length and _fails(program, size + 1))):
        try:
            allowed = program.allowed(np.ones((1, n), np.int64))
        except CannotRunError:
            continue
        return None if allowed is None else allowed[0]
    return None


def _fails(program: MaskProgram, length: int) -> bool:
    try:
        program.allowed(np.ones((1, length), np.int64))
    except CannotRunError:
        return True
    return False


def _band(allowed: Bools) -> tuple[int | None, int | None] | None:
    """How far a query sees behind and ahead, None where it sees all; None where that is no single band.

    Args:
        allowed: bool [seq, seq], without padding.
    """
    n = len(allowed)
    # By distance i - j: from the first column upwards, from the first row downwards.
    behind, ahead = allowed[:, 0], allowed[0, :]
    if (
        not behind[0]
        or np.diff(behind.astype(np.int8)).max(initial=0) > 0
        or np.diff(ahead.astype(np.int8)).max(initial=0) > 0
    ):
        return None
    reach = int(behind.sum()) - 1, int(ahead.sum()) - 1
    return tuple(None if r == n - 1 else r for r in reach)  # type: ignore[return-value]


def _masks(length: int) -> Iterator[npt.NDArray[np.int64]]:
    """What is tried: everything there is on short sequences, a sample on long ones, int64 [batch, seq] each."""
    for n in _EXHAUSTIVE:
        yield (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    for n in range(length - _BEYOND if length**2 < _ELEMENTS else length, length + 1):
        yield _sample(n)


def _sample(length: int) -> npt.NDArray[np.int64]:
    """Masks of a length at random, and padded on either side to any length; fewer the longer they are."""
    rng = np.random.default_rng(0)
    padded = np.arange(length) < rng.permutation(length + 1)[:, None]
    sided = np.stack([padded, padded[:, ::-1]], axis=1).reshape(-1, length)
    texts = np.concatenate([rng.integers(0, 2, (1, length)), sided, rng.integers(0, 2, (32, length))])
    return texts[: max(1, _ELEMENTS // length**2)].astype(np.int64)
