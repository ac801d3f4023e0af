"""What a call costs, by those made so far, and how far up the lengths the seconds and the memory reach. Pure functions.

Pessimistic where nothing is known yet: a proof that ends at a shorter text loses little, and one that takes hours all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SHORT = 128
"""Tokens within which texts are proven whatever they cost."""

_TURN = 512
"""Tokens from which attention is taken to cost more than all else, as long as no two lengths have shown it."""
_SEEN_TO = 8
"""A turn is believed up to so many times the longest row that was run."""


class Call(NamedTuple):
    """A batch of `rows` texts of `length` tokens, padding included, that took `seconds`."""

    rows: int
    length: int
    seconds: float


@dataclass(frozen=True)
class Costs:
    """What a call takes: a time for each token, as much again for attention at `turn` tokens, never under `least_s`."""

    least_s: float = 0.0
    token_s: float = 1.0
    turn: float = _TURN

    def seconds(self, rows: int, length: int) -> float:
        """Of a batch, padding included. More of either never takes less."""
        return max(self.least_s, self.token_s * rows * length * (1 + length / self.turn))


def fit(calls: Sequence[Call]) -> Costs:
    """The costs by calls in the order in which they were made, the first of which was slow for being the first."""
    calls = calls[1:] or calls
    if not calls:
        return Costs()
    least = min(call.seconds for call in calls)
    short = [call for call in calls if call.length <= SHORT]
    long = sorted((call for call in calls if call.length > SHORT), key=lambda call: call.length)
    token_s, turn = _of_short(short), float(_TURN)
    if long:
        last = long[-1]
        before = [call for call in long if call.length < last.length]
        turn = _turn(before[-1], last) if before else turn
        token_s = last.seconds / (last.rows * last.length * (1 + last.length / turn))
    return Costs(least, token_s, turn)


def _of_short(calls: Sequence[Call]) -> float:
    work = sum(call.rows * call.length * (1 + call.length / _TURN) for call in calls)
    return sum(call.seconds for call in calls) / work if work else 1.0


def _turn(one: Call, other: Call) -> float:
    """The length at which attention costs as much as all else, by calls of two lengths."""
    per_token, before = other.seconds / (other.rows * other.length), one.seconds / (one.rows * one.length)
    slope = (per_token - before) / (other.length - one.length)
    level = per_token - slope * other.length
    most = float(_SEEN_TO * other.length)
    return most if slope <= 0 else min(most, max(1.0, level / slope))


def rungs(limit: int, switch: int) -> tuple[int, ...]:
    """The lengths to prove one after the other, rising; the last is the limit.

    Args:
        limit: tokens that the model takes.
        switch: tokens at which it computes in another way, such as beyond an attention window; 0 for none. They are
            among the rungs where the limit is that long.
    """
    doubled = [SHORT << power for power in range(limit.bit_length())]
    return tuple(sorted({length for length in (*doubled, switch) if 0 < length < limit} | {limit}))


def base(lengths: Sequence[int], switch: int, fits: Callable[[int], bool]) -> int:
    """The rung that is proven whatever it takes: SHORT, or beyond the switch where memory holds that."""
    sure = [length for length in lengths if length <= SHORT] or [lengths[0]]
    return max(sure[-1], switch) if switch in lengths and fits(switch) else sure[-1]


def climb(start: int, lengths: Sequence[int], affords: Callable[[int], bool], run: Callable[[int], None]) -> int:
    """The longest rung that the allowance reaches.

    Args:
        start: the rung that is proven in any case.
        lengths: all rungs, rising.
        affords: whether the whole validation up to a length is within the allowance, by what is known so far.
        run: run a row of that length, after which more is known.
    """
    reached = start
    for length in (length for length in lengths if length > start):
        if not affords(length):
            break
        run(length)
        if not affords(length):
            break
        reached = length
    return reached
