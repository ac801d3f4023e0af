"""Texts to vectors, piece by piece: read, refuse what gives none, run, and make small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.encoder.call import Call
from poolfold.encoder.progress import Tell
from poolfold.encoder.runner import Runner
from poolfold.encoder.small_vectors import SmallVectors
from poolfold.errors import InputError
from poolfold.sessions.behind_prompt import Folded
from poolfold.tokenise import Input, Tokenizer, pieces, shorten

_SHOWN = 5
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 4096, 2**21
"""What is read, tokenised and sorted by length together."""


@dataclass(frozen=True, eq=False)
class Reader:
    """Texts to rows of ids, with what is refused and warned of on the way.

    watch: told the tokens of the longest text.
    warn_of_cuts: told how many texts were cut, of how many; None where nobody is.
    """

    tokenizer: Tokenizer
    watch: Callable[[int], None]
    warn_of_cuts: Callable[[int, int, int], None] | None

    def rows(self, texts: Sequence[Input], call: Call, first: int) -> list[list[int]]:
        """Ids of texts, the first of which is the caller's text `first`."""
        rows, cut = self.tokenizer.read(texts, call.prompt, first=first, reading=call.reading)
        left_out = self.tokenizer.left_out(call.prompt)
        for index, row in enumerate(rows):
            if len(row) <= left_out:
                besides = " besides the prompt" if left_out else ""
                raise InputError(
                    f"text {first + index} ({shorten(texts[index])}) gives no token{besides}, and the embedding of "
                    "nothing is undefined. Leave it out."
                )
        if cut and call.truncate is not True:
            most = call.reading.max_length or self.tokenizer.text.max_seq_length
            if call.truncate is False:
                raise self._too_long([(first + index, texts[index]) for index in cut], call, most)
            if self.warn_of_cuts is not None:
                self.warn_of_cuts(len(cut), len(rows), most)
        self.watch(max(map(len, rows)))
        return rows

    def _too_long(self, texts: Sequence[tuple[int, Input]], call: Call, most: int) -> InputError:
        shown = texts[:_SHOWN]
        counts = self.tokenizer.counts(
            [text for _, text in shown], call.prompt, special_tokens=call.reading.special_tokens
        )
        told = ", ".join(
            f"text {number} ({shorten(text)}) has {count}" for (number, text), count in zip(shown, counts, strict=True)
        )
        more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        return InputError(
            f"truncate is False, and {told}{more} tokens; expected at most {most}. Split them, raise max_length where "
            "it is below the model's limit, or leave truncate out to have them cut."
        )


def embedded(
    texts: Iterable[Input],
    call: Call,
    reader: Reader,
    runner: Runner,
    folded: Folded | None,
    tell: Tell | None = None,
    *,
    first: int = 0,
    at_once: int = _TEXTS_AT_ONCE,
) -> Iterator[npt.NDArray[Any]]:
    """The vectors of texts, piece by piece, in the order of the texts.

    Args:
        texts: read as they are needed.
        call: what is asked for.
        reader, runner: what does it.
        folded: the call's prompt, where it need not be computed.
        tell: told of the texts that are done.
        first: the number of the first text, for messages.
        at_once: texts that are sorted by length together.

    Yields:
        `call.small.dtype` [texts, `call.small.width`].
    """
    left_out = reader.tokenizer.left_out(call.prompt)
    done = 0
    for piece in pieces(texts, at_once, _CHARACTERS_AT_ONCE):
        rows = reader.rows(piece, call, first + done)
        yield embed_rows(rows, names_of(piece, first + done), call, runner, left_out, folded, tell, done)
        done += len(rows)


def embed_rows(
    rows: Sequence[Sequence[int]],
    names: Sequence[str],
    call: Call,
    runner: Runner,
    left_out: int,
    folded: Folded | None,
    tell: Tell | None = None,
    before: int = 0,
) -> npt.NDArray[Any]:
    """The vectors of rows of ids, one row or more; arguments as of `embedded`.

    names: of the rows, for messages.
    left_out: tokens at the beginning of each row that the pooling leaves out.
    before: texts that were done before these.
    """
    small, done = call.small, 0
    vectors = np.empty((len(rows), small.width), dtype=small.dtype)
    for batch, found in runner.batches(rows, names, call.batch_size, left_out=left_out, folded=folded):
        cut = small.cut(found)
        if small.dimensions is not None:
            runner.refuse(cut, [names[index] for index in batch])
        vectors[batch] = small.of(cut)
        done += len(batch)
        if tell is not None:
            tell(before + done)
    return vectors


def names_of(texts: Sequence[Input], first: int) -> list[str]:
    """What messages call texts, the first of which is the caller's text `first`."""
    return [f"text {first + index} ({shorten(text)})" for index, text in enumerate(texts)]


def joined(parts: Iterable[npt.NDArray[Any]], count: int, small: SmallVectors) -> npt.NDArray[Any]:
    """The pieces as one array, of which there is never a second copy; count: rows, as far as it is known."""
    vectors = np.empty((count, small.width), dtype=small.dtype)
    first = 0
    for part in parts:
        if len(vectors) < first + len(part):
            vectors.resize((first + len(part) + first // 8, small.width), refcheck=False)
        vectors[first : first + len(part)] = part
        first += len(part)
    if len(vectors) > first:
        vectors.resize((first, small.width), refcheck=False)
    return vectors
