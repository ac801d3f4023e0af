"""What an attention mask means: which keys each query may attend to, found by running the mask's own subgraph.

Exporters write a mask as they compute it, in dozens of ways. What counts is a function of the attention_mask and of two
positions, so the subgraph is evaluated, and the form is accepted only where it gives the same answer everywhere.
Ignorant of how the form is written back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes import common

Bools = npt.NDArray[np.bool_]

_EXHAUSTIVE = (1, 2, 3, 5)
"""Lengths at which every attention_mask there is gets tried."""

_LONGEST = 8300
"""The longest sequence that is evaluated: a window that reaches further is not recognised."""

_SWITCHED_OFF = -1e4
"""An additive mask at or below it leaves nothing of a score."""


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
        tokens = mask > 0
        positions = np.arange(mask.shape[1])
        distance = positions[:, None] - positions[None, :]
        allowed = np.broadcast_to(tokens[:, None, :], (*mask.shape, mask.shape[1])).copy()
        if self.behind is not None:
            allowed &= distance <= self.behind
        if self.ahead is not None:
            allowed &= -distance <= self.ahead
        return allowed & tokens[:, :, None] if self.query_too else allowed


class MaskProgram:
    """The subgraph that computes one mask from attention_mask, ready to run."""

    def __init__(self, model: ir.Model, name: str, *, inverted: bool = False) -> None:
        """Cut the subgraph of the value called `name` out of a clone; `inverted` where true means "not allowed"."""
        self._inverted = inverted
        part = model.clone()
        graph = part.graph
        value = next(output for node in graph for output in node.outputs if output.name == name)
        graph.outputs[:] = [value]
        common.RemoveUnusedNodesPass()(part)
        self._inputs = [str(v.name) for v in graph.inputs]
        self._constants = [v.const_value for v in graph.initializers.values() if v.const_value is not None]
        self._evaluator = ReferenceEvaluator(ir.to_proto(part))

    def allowed(self, mask: npt.NDArray[np.int64]) -> Bools | None:
        """Which keys each query may attend to, bool [batch, seq, seq]; None where it is no mask of 0 and -large."""
        feeds = {name: mask if name == "attention_mask" else np.zeros_like(mask) for name in self._inputs}
        (got,) = self._evaluator.run(None, feeds)
        got = np.asarray(got)
        if got.ndim == 4:
            if got.shape[1] != 1:
                return None
            got = got[:, 0]
        if got.ndim not in (2, 3):
            return None
        if got.dtype != np.bool_:
            if not ((got == 0) | (got <= _SWITCHED_OFF)).all():
                return None
            got = got == 0
        if self._inverted:
            got = ~got
        return np.broadcast_to(got, (*mask.shape, mask.shape[1]))

    def longest(self) -> int | None:
        """A length at which every number in the subgraph has had its effect; None where that is too long to try."""
        length = max(_EXHAUSTIVE)
        for tensor in self._constants:
            array = tensor.numpy()
            if array.dtype.kind in "iuf" and array.size:
                numbers = np.abs(array[np.isfinite(array)].astype(np.float64))
                # Slices end at the largest int64, and what is switched off is larger still.
                numbers = numbers[numbers < 2**31]
                length = max(length, int(numbers.max(initial=0)) + 3)
        tables = [max(t.shape.numpy()) for t in self._constants if t.size > max(_EXHAUSTIVE) ** 2]
        length = min([length, *tables])
        return length if length <= _LONGEST else None


def find_form(program: MaskProgram) -> MaskForm | None:
    """The form of a mask, or None where no form agrees with it everywhere it was tried."""
    length = program.longest()
    if length is None:
        return None
    everything = program.allowed(np.ones((1, length), np.int64))
    band = None if everything is None else _band(everything[0])
    if band is None:
        return None
    tried = [_every_mask(n) for n in _EXHAUSTIVE]
    tried.append(np.random.default_rng(0).integers(0, 2, (1, length)))
    answers = [program.allowed(mask) for mask in tried]
    for query_too in (False, True):
        form = MaskForm(*band, query_too)
        if all(a is not None and np.array_equal(a, form.allowed(m)) for a, m in zip(answers, tried, strict=True)):
            return form
    return None


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


def _every_mask(length: int) -> npt.NDArray[np.int64]:
    """Every attention_mask of a length, int64 [2**length, length]."""
    return (np.arange(2**length)[:, None] >> np.arange(length)) & 1
