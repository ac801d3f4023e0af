"""Texts or token ids to vectors, with any session. A vector that is not finite, or is zero, is never returned.

Independent of runtimes and files; of the manifest it reads only `Model`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, CheckFailed, InputError
from poolfold.inputs import check_batch, check_texts
from poolfold.manifest import EMBEDDING, Model, Output
from poolfold.sessions import Session
from poolfold.sessions.behind_prompt import Folded, Run
from poolfold.sessions.outputs import refusals
from poolfold.tokenise import Tokenizer, pad, shorten

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded model. Safe to share between threads. To free its weights, call `close` or use a `with` statement.

    Pickled, it is the directory that it was loaded from and how; a process that unpickles it loads it again.

    strategy, dtype, target: what `load` chose.
    dim: length of a vector.
    model: the checkpoint's description in the manifest.
    output: what the graph gives, and which rows are refused.
    folded: prompts that need not be computed, by their text.
    again: loads it again; None for one that was not made by `load`, which cannot be pickled.
    validated_up_to: tokens of the longest text that was checked against the model, as the manifest says. The first
        longer one warns.
    """

    session: Session = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    strategy: str = field(kw_only=True)
    dtype: str = field(kw_only=True)
    target: str = field(kw_only=True)
    dim: int = field(kw_only=True)
    model: Model = field(kw_only=True, repr=False)
    output: Output = field(default=EMBEDDING, kw_only=True, repr=False)
    folded: Mapping[str, Folded] = field(default_factory=dict, kw_only=True, repr=False)
    again: Callable[[], Encoder] | None = field(default=None, kw_only=True, repr=False)
    validated_up_to: int | None = field(default=None, kw_only=True, repr=False)
    _told: Event = field(default_factory=Event, init=False, repr=False)

    @property
    def max_seq_length(self) -> int:
        """Tokens of the longest input, special tokens included; `encode` truncates to it, `embed` refuses more."""
        return self.model.text.max_seq_length

    @property
    def prompts(self) -> Mapping[str, str]:
        """The checkpoint's prompts by name, and those that were given when it was exported."""
        return MappingProxyType(self.tokenizer.text.prompts)

    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 32,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed texts.

        Texts of similar length share a batch, so that little padding is computed. The rows are in input order.

        Args:
            texts: any number of texts; longer ones are truncated to `max_seq_length`.
            batch_size: the most texts in one run.
            prompt: text to put before each text; None for the prompt `prompt_name`.
            prompt_name: a name in `prompts`; None for the checkpoint's default prompt, if it has one.
            progress: called after each batch with the number of texts done so far.

        Returns:
            float32 [len(texts), dim].

        Raises:
            InputError: an argument is invalid, or a text gives no token.
            CheckFailed: a vector is not finite, or is zero.
        """
        listed = check_texts(texts, batch_size)
        put_before = self.tokenizer.resolve_prompt(prompt, prompt_name)
        rows, left_out = self.tokenizer.ids(listed, put_before), self.tokenizer.left_out(put_before)
        for index, row in enumerate(rows):
            if len(row) <= left_out:
                besides = " besides the prompt" if left_out else ""
                raise InputError(
                    f"text {index} ({shorten(listed[index])}) gives no token{besides}, and the embedding of nothing is "
                    "undefined. Leave it out."
                )
        self._warn_beyond(max(map(len, rows), default=0))
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        text, done = self.model.text, 0
        for part in _parts(rows, left_out, text.padding_side, self.folded.get(put_before)):
            longest_first = sorted(part.rows, key=lambda index: len(part.rows[index]), reverse=True)
            for start in range(0, len(longest_first), batch_size):
                batch = longest_first[start : start + batch_size]
                names = [f"text {index} ({shorten(listed[index])})" for index in batch]
                ids = [part.rows[i] for i in batch]
                padded = pad(ids, part.padding_side, text.pad_token_id, left_out=[part.left_out] * len(ids))
                vectors[batch] = self._run(*padded, names, part.run or self.session.run)
                done += len(batch)
                if progress is not None:
                    progress(done)
        return vectors

    def embed(self, input_ids: npt.ArrayLike, attention_mask: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Embed token ids, special tokens included.

        Args:
            input_ids: int64 [batch, seq], in [0, vocab_size); at most `max_seq_length` a row, at least 1.
            attention_mask: int64 [batch, seq], 1 on tokens and 0 on padding, on either side; 2 on the prompt's tokens,
                for a model that leaves them out of the pooling (`model.text.include_prompt` is false).

        Returns:
            float32 [batch, dim].

        Raises:
            InputError: an argument is invalid.
            CheckFailed: a vector is not finite, or is zero.
        """
        ids, mask = check_batch(input_ids, attention_mask, self.model)
        if not len(ids):
            return np.empty((0, self.dim), dtype=np.float32)
        self._warn_beyond(int((mask > 0).sum(axis=1).max()))
        return self._run(ids, mask, [f"row {index}" for index in range(len(ids))], self.session.run)

    def _run(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], names: list[str], run: Run
    ) -> npt.NDArray[np.float32]:
        """Run a batch and check every row; `names` has a name of each row for messages."""
        vectors = run(input_ids, attention_mask)
        expected = (len(names), self.dim)
        if vectors.dtype != self.output.dtype or vectors.shape != expected:
            raise ArtifactError(
                f"the {self.strategy} {self.dtype} model gave {vectors.dtype} {list(vectors.shape)}; "
                f"expected {self.output.dtype} {list(expected)}, as its manifest says. Export the model again."
            )
        for reason, rows in refusals(vectors, self.output):
            raise _refused(rows, reason, names)
        return vectors

    def _warn_beyond(self, length: int) -> None:
        """Warn the caller of a method, once, of a text of more tokens than were checked."""
        proven = self.validated_up_to
        if proven is None or length <= proven or self._told.is_set():
            return
        self._told.set()
        warnings.warn(
            f"a text has {length} tokens, and this artifact was validated up to {proven} of {self.max_seq_length}: "
            "vectors of longer texts are unproven. Run `poolfold validate` with --validate-length, or export with it.",
            UserWarning,
            stacklevel=3,
        )

    def close(self) -> None:
        """Free the model; a later call raises InputError. Closing twice does nothing."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[], Encoder], tuple[()]]:
        """For pickle, copy, and what hashes a pickle. No weights are in it.

        Raises:
            TypeError: it was not made by `load`.
        """
        if self.again is None:
            raise TypeError("this Encoder was not made by poolfold.load, so it cannot be pickled; pass its directory.")
        return self.again, ()


class _Part(NamedTuple):
    """Rows that run alike.

    rows: index of a text -> its ids, or those behind a folded prompt.
    left_out: tokens at the beginning of each that the pooling leaves out.
    run: computes a batch; None for the whole run.
    """

    rows: Mapping[int, Sequence[int]]
    left_out: int
    padding_side: str
    run: Run | None


def _parts(rows: Sequence[Sequence[int]], left_out: int, padding_side: str, folded: Folded | None) -> tuple[_Part, ...]:
    """The rows behind a folded prompt, and all others."""
    behind = {} if folded is None else folded.behind(rows)
    others = _Part({i: row for i, row in enumerate(rows) if i not in behind}, left_out, padding_side, None)
    if folded is None:
        return (others,)
    # Padding on the left would lie between the prompt and the text.
    return _Part(behind, max(0, left_out - len(folded.ids)), "right", folded.run), others


def _refused(rows: npt.NDArray[np.intp], reason: str, names: list[str]) -> CheckFailed:
    """The error for rows that are not returned."""
    shown = ", ".join(names[row] for row in rows[:_SHOWN])
    more = f" and {rows.size - _SHOWN} more" if rows.size > _SHOWN else ""
    return CheckFailed(
        f"the vector is {reason} for {shown}{more}; expected finite values, not all zero. Nothing is returned. "
        "Try dtype fp32, and `poolfold validate` on these texts."
    )
