"""Find which keys each query may attend to under an attention mask, by running the subgraph that computes the mask.

Exporters compute the same mask by many different subgraphs. The meaning of a mask is a function of attention_mask and
two positions, so the subgraph is evaluated on many inputs, and a form is accepted only if it agrees on all of them.
Independent of how the form is written to the graph.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from graphs.ir.masks import MaskForm
from graphs.mask.mask_program import Bools, CannotRunError, MaskProgram

_EXHAUSTIVE = (1, 2, 3, 4, 5)
"""Lengths at which every possible attention_mask is evaluated."""

_BEYOND = 3
"""Masks are evaluated at lengths up to their reach plus this number, so that an error by one position shows."""

_LONGEST = 8300
"""The longest sequence that is evaluated; a mask with a longer window is not recognised."""

_ELEMENTS = 2**20
"""The most elements of a mask [batch, seq, seq] that is evaluated."""


def find_form(program: MaskProgram) -> MaskForm | None:
    """The form of a mask, or None where no form agrees with it on every input that was tried."""
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
    """The mask without padding, bool [seq, seq], evaluated at a length beyond the reach of the subgraph."""
    if program.reach + _BEYOND > _LONGEST:
        return None
    length = max(int(np.ceil(program.reach)) + _BEYOND, *_EXHAUSTIVE)
    # The subgraph may fail beyond the length of a table that it slices; then that length is the longest to evaluate.
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
    """How far a query may attend behind and ahead, None for no limit; None instead of the pair if it is not one band.

    Args:
        allowed: bool [seq, seq], without padding.
    """
    n = len(allowed)
    # The first column holds distances i - j = 0, 1, ...; the first row holds i - j = 0, -1, ...
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
    """The masks to evaluate, int64 [batch, seq] each: all masks of short lengths, a sample of long ones."""
    for n in _EXHAUSTIVE:
        yield (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    for n in range(length - _BEYOND if length**2 < _ELEMENTS else length, length + 1):
        yield _sample(n)


def _sample(length: int) -> npt.NDArray[np.int64]:
    """Random masks of one length, and masks padded on either side by any amount; fewer for longer lengths."""
    rng = np.random.default_rng(0)
    padded = np.arange(length) < rng.permutation(length + 1)[:, None]
    sided = np.stack([padded, padded[:, ::-1]], axis=1).reshape(-1, length)
    texts = np.concatenate([rng.integers(0, 2, (1, length)), sided, rng.integers(0, 2, (32, length))])
    return texts[: max(1, _ELEMENTS // length**2)].astype(np.int64)
