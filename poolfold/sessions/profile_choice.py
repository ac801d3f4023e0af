"""Which optimisation profile runs a batch, and in which pieces. Pure: shapes in, pieces out.

An engine takes the shapes of its profiles and no others. A batch with more rows than a profile takes is cut; one with
fewer rows or tokens than a profile wants is filled up, with rows whose vectors are dropped and with padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolfold.errors import InputError
from poolfold.manifest import Profile


@dataclass(frozen=True)
class Piece:
    """Rows of a batch to run at once.

    profile: its number.
    start, stop: the rows.
    rows, tokens: the shape to run them in, at least theirs.
    """

    profile: int
    start: int
    stop: int
    rows: int
    tokens: int


def pieces(profiles: Sequence[Profile], rows: int, tokens: int) -> tuple[Piece, ...]:
    """Cut a batch of `rows` x `tokens` into pieces that one profile takes.

    The profile is the one that computes the fewest tokens; among equals, the one in fewest pieces, then the one tuned
    for the nearest shape.

    Raises:
        InputError: the texts are longer than every profile takes; says which lengths they take.
    """
    able = [
        (_cost(profile, rows, tokens), index) for index, profile in enumerate(profiles) if tokens <= profile.seq_len.max
    ]
    if not able:
        ranges = ", ".join(
            f"{p.seq_len.min} to {p.seq_len.max} tokens (up to {p.batch.max} texts at once)" for p in profiles
        )
        raise InputError(
            f"got a batch of {rows} texts padded to {tokens} tokens; expected lengths that the engine was built for: "
            f"{ranges}. Shorten the texts, or build an engine for longer ones: poolfold build --seq-len or --buckets."
        )
    index = min(able)[1]
    profile = profiles[index]
    wide = max(tokens, profile.seq_len.min)
    cuts = range(0, rows, profile.batch.max)
    ends = [min(start + profile.batch.max, rows) for start in cuts]
    return tuple(
        Piece(index, start, stop, max(stop - start, profile.batch.min), wide)
        for start, stop in zip(cuts, ends, strict=True)
    )


def _cost(profile: Profile, rows: int, tokens: int) -> tuple[int, int, int]:
    """Tokens computed, pieces, and the distance of the shape from what the profile is tuned for."""
    batch, seq = profile.batch, profile.seq_len
    whole, rest = divmod(rows, batch.max)
    computed = whole * batch.max + (max(rest, batch.min) if rest else 0)
    wide = max(tokens, seq.min)
    return computed * wide, -(-rows // batch.max), abs(min(rows, batch.max) * wide - batch.opt * seq.opt)
