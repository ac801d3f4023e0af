"""How long texts are proven, and which: as far as seconds and memory reach, by what the reference's own calls cost.

Everything follows from the length and the texts that are chosen here; these depend on the machine's speed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.parity.checks import Progress, ReferenceRun, candidate_shapes, reference_shapes, run_reference
from exporter.parity.corpus import awkward, corpus, lengths_between
from exporter.parity.ladder import SHORT, Call, Costs, base, climb, fit, rungs
from exporter.parity.tokens import Tokens, make_batch, sorted_batches
from exporter.spec.reference import Reference
from graphs.pooling.strategy import Strategy
from poolfold.errors import InputError

FEWEST = 32
"""Texts that are checked whatever they cost."""
_LENGTH_SHARE = 0.75
"""Of the seconds, for the fewest texts and their length, where there are more texts to check."""
_COPIES = 3
"""Of the attention scores: masked, and behind the softmax."""


@dataclass(frozen=True)
class Allowance:
    """What validation may take, reference and candidates together.

    seconds: of computing; infinite where a length is insisted on.
    length: the length that is insisted on; None for as far as seconds and memory reach.
    candidates: how many there are, each by what it takes beside the reference.
    switch: tokens at which the model computes in another way; 0 for none.
    pair_bytes: the attention scores of a pair of tokens, all heads, once.
    room: bytes for these; None where the machine does not tell.
    """

    seconds: float
    length: int | None
    candidates: float
    switch: int = 0
    pair_bytes: int = 0
    room: int | None = None


@dataclass(frozen=True, eq=False)
class Proof:
    """The reference's vectors of what is proven.

    limit: tokens that the model takes.
    texts: how many there were to check.
    why: what kept the proof below the limit, as the end of a sentence; empty where nothing did.
    """

    run: ReferenceRun
    limit: int
    texts: int
    why: str

    @property
    def length(self) -> int:
        """Tokens of the longest text that is proven."""
        return self.run.tokens.max_seq_length

    def scope(self) -> str:
        """How many texts were checked, and how long they are where that is less than the model takes."""
        return f"{len(self.run.tokens.rows)} texts" + (
            f" of up to {self.length} of {self.limit} tokens" if self.length < self.limit else ""
        )

    def notes(self) -> Iterator[str]:
        """What its user should know."""
        if (checked := len(self.run.tokens.rows)) < self.texts:
            yield (
                f"checked {checked} of {self.texts} texts: all of them would take more than --validate-seconds. "
                "Raise it to check more."
            )
        if self.length < self.limit:
            yield (
                f"validated up to {self.length} of {self.limit} tokens{self.why}. --validate-length N proves longer "
                "texts whatever they take; export's --max-seq-length N lowers the limit."
            )


def prove(
    reference: Reference,
    read: Callable[[int], Tokens],
    limit: int,
    strategies: Sequence[Strategy],
    allowance: Allowance,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] | None = None,
) -> Proof:
    """Compute the reference's vectors, short texts first, up to the length that the allowance reaches.

    Args:
        reference: the model.
        read: the texts, cut to so many tokens.
        limit: tokens that the model takes.
        strategies: what to pool.
        allowance: what validation may take.
        progress: called now and then with (done, in all, what is being done).
        clock: seconds; for tests.

    Raises:
        InputError: a length that is insisted on, and is no length of this model's texts or beyond the memory.
        CheckpointError: as `run_reference`.
    """
    timed = _Timed(reference, strategies, clock or time.perf_counter)
    every = read(limit)
    search = _Search(timed, every, allowance, progress)
    left_out: frozenset[str] = frozenset()
    length, why = limit, ""
    if allowance.length is not None:
        length = search.insisted(allowance.length)
    elif every.rows:
        length, why = search.choose_length()
        left_out = search.choose_texts(length)
    tokens = every if length == limit else read(length)
    run = run_reference(timed, select(tokens, left_out), strategies, progress, search.costs)
    return Proof(run, limit, len(tokens.rows), why)


class _Timed:
    """A reference that remembers what each call took, and its vectors."""

    def __init__(self, reference: Reference, strategies: Sequence[Strategy], clock: Callable[[], float]) -> None:
        self.name, self.described = reference.name, reference.described
        self.calls: list[Call] = []
        self._reference, self._strategies, self._clock = reference, strategies, clock
        self._known: dict[tuple[tuple[int, ...], bytes, bytes], Mapping[Strategy, npt.NDArray[np.float32]]] = {}

    def embed(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], strategies: Sequence[Strategy]
    ) -> Mapping[Strategy, npt.NDArray[np.float32]]:
        """As `Reference.embed`, for the strategies that it was made for."""
        key = (input_ids.shape, input_ids.tobytes(), attention_mask.tobytes())
        if key not in self._known:
            began = self._clock()
            self._known[key] = self._reference.embed(input_ids, attention_mask, self._strategies)
            rows, length = input_ids.shape
            self.calls.append(Call(rows, length, self._clock() - began))
        return self._known[key]


class _Search:
    """The texts and the length that an allowance reaches; `costs` by all calls so far."""

    def __init__(self, timed: _Timed, every: Tokens, allowance: Allowance, progress: Progress | None) -> None:
        self.costs = Costs()
        self._timed, self._allowance, self._progress = timed, allowance, progress
        self._every, self._order = every, _by_need(every)
        self._fewest = min(FEWEST, len(every.rows))
        self._limit = every.max_seq_length
        self._lengths = rungs(self._limit, allowance.switch)

    def insisted(self, length: int) -> int:
        """The length itself.

        Raises:
            InputError: no memory holds one row's attention scores in it.
        """
        room, need = self._allowance.room, length**2 * self._allowance.pair_bytes
        if room is not None and need > room:
            raise InputError(
                f"--validate-length {length} takes {need / 2**30:.0f} GiB for the attention scores of one text, and "
                f"this machine has {room / 2**30:.0f} GiB for them. Ask for less, or take a larger machine."
            )
        return length

    def choose_length(self) -> tuple[int, str]:
        """The length, by the fewest texts, and why it is not the limit."""
        order, short = self._order, min(self._limit, SHORT)
        for batch in sorted_batches(clip(_of_rows(self._every, order[:FEWEST]), short)):
            self._run(batch.input_ids, batch.attention_mask, f"{len(batch.rows)} short texts")
        start = base(self._lengths, self._allowance.switch, self._fits)
        length = climb(start, self._lengths, self._affords, self._run_row)
        if length == self._limit:
            return length, ""
        following = next(rung for rung in self._lengths if rung > length)
        if not self._fits(following):
            return length, f": the attention scores of {following} may not fit in this machine's memory"
        return length, f": {following} would take more than --validate-seconds {self._allowance.seconds:g}"

    def choose_texts(self, length: int) -> frozenset[str]:
        """The texts to leave out, because all of them would take too long up to that length."""
        least, beyond = self._fewest, len(self._order) + 1
        number = beyond - 1  # all of them, which mostly do
        while least < beyond - 1:
            if self._seconds(self._planned(length, number)) <= self._allowance.seconds:
                least = number
            else:
                beyond = number
            number = (least + beyond) // 2
        return frozenset(self._every.texts[row] for row in self._order[least:])

    def _planned(self, length: int, texts: int) -> Tokens:
        return planned(_of_rows(self._every, sorted(self._order[:texts])), length)

    def _affords(self, length: int) -> bool:
        # Where there are more texts to check, some time is for them.
        share = 1.0 if self._fewest == len(self._order) else _LENGTH_SHARE
        seconds = self._seconds(self._planned(length, self._fewest))
        return self._fits(length) and seconds <= share * self._allowance.seconds

    def _fits(self, length: int) -> bool:
        if self._allowance.room is None:
            return True
        pairs = max(rows * seq * seq for rows, seq in candidate_shapes(self._planned(length, self._fewest)))
        return _COPIES * pairs * self._allowance.pair_bytes <= self._allowance.room

    def _seconds(self, tokens: Tokens) -> float:
        """The whole validation of some texts, by the costs so far."""
        once = sum(self.costs.seconds(*shape) for shape in reference_shapes(tokens))
        return once + self._allowance.candidates * sum(self.costs.seconds(*s) for s in candidate_shapes(tokens))

    def _run_row(self, length: int) -> None:
        row = max(range(len(self._every.rows)), key=lambda r: len(self._every.rows[r]))
        batch = make_batch(clip(self._every, length), [row])
        self._run(batch.input_ids, batch.attention_mask, f"a text of {length} tokens")

    def _run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], what: str) -> None:
        self._timed.embed(input_ids, attention_mask, ())
        self.costs = fit(self._timed.calls)
        if self._progress is not None:
            done = sum(call.seconds for call in self._timed.calls)
            self._progress(done, 2 * done, what)


def clip(tokens: Tokens, length: int) -> Tokens:
    """The rows cut behind `length` tokens: as long as the tokeniser's, and not its ids."""
    rows = tuple(row[:length] for row in tokens.rows)
    return replace(tokens, rows=rows, max_seq_length=min(length, tokens.max_seq_length))


def planned(tokens: Tokens, length: int) -> Tokens:
    """What there will be to check, as to its lengths, where texts are cut to `length` tokens.

    tokens: as read at the model's limit; the corpus has other long texts for another length.
    """
    long = set(_long_texts(tokens.max_seq_length))
    cut = clip(_of_rows(tokens, [row for row, text in enumerate(tokens.texts) if text not in long]), length)
    more = [*lengths_between(length), length]
    return replace(
        cut,
        texts=(*cut.texts, *("" for _ in more)),
        rows=(*cut.rows, *((0,) * n for n in more)),
        left_out=(*cut.left_out, *(0 for _ in more)),
    )


def select(tokens: Tokens, left_out: Collection[str]) -> Tokens:
    """Without some texts; the corpus' long texts stay."""
    if not left_out:
        return tokens
    long = _long_texts(tokens.max_seq_length)
    return _of_rows(tokens, [i for i, text in enumerate(tokens.texts) if text in long or text not in left_out])


def _by_need(tokens: Tokens) -> list[int]:
    """All rows: what something may stumble over, then the others in an order drawn once and for all."""
    first = {*_long_texts(tokens.max_seq_length), *awkward()}
    others = [row for row, text in enumerate(tokens.texts) if text not in first]
    return [
        *(row for row, text in enumerate(tokens.texts) if text in first),
        *random.Random(0).sample(others, len(others)),
    ]


def _long_texts(max_seq_length: int) -> tuple[str, ...]:
    return corpus(max_seq_length)[-1 - len(lengths_between(max_seq_length)) :]


def _of_rows(tokens: Tokens, rows: Sequence[int]) -> Tokens:
    return replace(
        tokens,
        texts=tuple(tokens.texts[row] for row in rows),
        rows=tuple(tokens.rows[row] for row in rows),
        left_out=tuple(tokens.left_out[row] for row in rows),
    )
