"""Optimisation profiles from what a user says of lengths: one range, buckets, or the lengths of their own texts.

Pure: numbers in, profiles out. Together the profiles take every length from the least to the largest, each once.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Sequence

from exporter.spec.options import Shapes, Triple
from poolfold.errors import InputError
from poolfold.manifest import Profile, Range

_MULTIPLE = 8
"""Lengths that half-precision matrix units fill."""
_MOST_BUCKETS = 6
_WORTH_A_BUCKET = 0.02
"""A further bucket must save so much of the tokens computed: each costs an engine's build time again, and memory."""


def one_range(limit: int, batch: Triple, seq_len: Triple | None) -> tuple[Profile, ...]:
    """`--batch` and `--seq-len` as they are; without the latter, every length up to the model's limit.

    Raises:
        InputError: lengths beyond the model's limit.
    """
    low, opt, high = seq_len or (1, min(128, limit), limit)
    if high > limit:
        raise InputError(f"--seq-len {low}:{opt}:{high} goes beyond the model's limit of {limit} tokens.")
    return (Profile(batch=_range(batch), seq_len=Range(min=low, opt=opt, max=high)),)


def from_buckets(
    limit: int, batch: Triple, buckets: Sequence[int], lengths: Sequence[int] | None = None
) -> tuple[Profile, ...]:
    """One profile a bucket: the lengths above the bucket before it, tuned for its own.

    Args:
        limit: tokens of the model's longest text.
        batch: MIN:OPT:MAX, in every profile.
        buckets: rising lengths.
        lengths: of a user's texts, in tokens, to tell which share of them each bucket takes.

    Raises:
        InputError: buckets that do not rise, or go beyond the model's limit.
    """
    rises = all(low < high for low, high in itertools.pairwise([0, *buckets]))
    if not buckets or not rises or buckets[-1] > limit:
        shown = ",".join(str(bucket) for bucket in buckets)
        raise InputError(f"--buckets got {shown!r}; expected rising lengths from 1 to the model's limit of {limit}.")
    taken = Counter(bisect.bisect_left(buckets, length) for length in lengths or ())
    return tuple(
        Profile(
            batch=_range(batch),
            seq_len=Range(min=below + 1, opt=bucket, max=bucket),
            share=None if not lengths else taken[index] / len(lengths),
        )
        for index, (below, bucket) in enumerate(itertools.pairwise([0, *buckets]))
    )


def derive_buckets(limit: int, lengths: Sequence[int]) -> tuple[int, ...]:
    """The buckets that waste least on these texts, each text alone padded to its bucket.

    Multiples of 8, and the limit last, so that every text of the model has a bucket. As many as pay: a further one must
    save 2 % of the tokens computed, and there are six at most.

    Args:
        limit: tokens of the model's longest text.
        lengths: of the texts, in tokens, from 1 to the limit; one at least.
    """
    rounded = Counter(min(-(-length // _MULTIPLE) * _MULTIPLE, limit) for length in lengths)
    rounded.setdefault(limit, 0)
    places = sorted(rounded)
    texts = [0, *itertools.accumulate(rounded[place] for place in places)]
    # best[end] = (tokens computed, buckets) of the texts up to the place `end`, with one bucket more each turn.
    best: list[tuple[int, tuple[int, ...]]] = [(place * texts[end + 1], (place,)) for end, place in enumerate(places)]
    chosen = best[-1]
    for _ in range(1, min(_MOST_BUCKETS, len(places))):
        best = [
            min(
                (
                    best[end],
                    *(
                        (best[start][0] + place * (texts[end + 1] - texts[start + 1]), (*best[start][1], place))
                        for start in range(end)
                    ),
                ),
                key=lambda option: option[0],
            )
            for end, place in enumerate(places)
        ]
        if best[-1][0] > (1 - _WORTH_A_BUCKET) * chosen[0]:
            break
        chosen = best[-1]
    return chosen[1]


def _range(triple: Triple) -> Range:
    return Range(min=triple[0], opt=triple[1], max=triple[2])


def choose_profiles(limit: int, shapes: Shapes, lengths: Sequence[int]) -> tuple[Profile, ...]:
    """Profiles from what a user says of shapes.

    Args:
        limit: tokens of the model's longest text.
        shapes: what engines are to accept.
        lengths: tokens of the user's own texts; may be empty.

    Raises:
        InputError: flags that exclude each other, or numbers that do not fit the model.
    """
    buckets = shapes.buckets
    if buckets is None:
        return one_range(limit, shapes.batch, shapes.seq_len)
    if shapes.seq_len is not None:
        raise InputError("--buckets and --seq-len both say which lengths an engine takes. Leave one of them out.")
    if isinstance(buckets, str):
        if not lengths:
            raise InputError("--buckets auto derives the buckets from your texts. Give them with --texts FILE.")
        buckets = derive_buckets(limit, lengths)
    return from_buckets(limit, shapes.batch, buckets, lengths)
