"""Texts or token ids to vectors, with any session. A vector that is not finite, or is zero, is never returned.

Independent of runtimes and files; of the manifest it reads only `Model`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from types import MappingProxyType
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from poolfold.encoder.inputs import check_batch, check_texts
from poolfold.encoder.parts import Part, parts
from poolfold.encoder.small_vectors import Ranges, SmallVectors, small_vectors
from poolfold.errors import ArtifactError, CheckFailed, InputError, OutOfMemory
from poolfold.manifest import EMBEDDING, Model, Output, RunMemory
from poolfold.sessions import Session
from poolfold.sessions.behind_prompt import Folded, Run
from poolfold.sessions.memory import default_memory, in_halves, require_memory
from poolfold.sessions.outputs import refusals
from poolfold.tokenise import Budget, Tokenizer, pad, pieces, shorten

_SHOWN = 5
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 4096, 2**21
"""What is read, tokenised and sorted by length together."""
_LITTLE = 2**26
"""A run of so many bytes is run without a look at what is free, which takes a tenth of a millisecond and more."""


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
    run_memory: what a run takes on a CPU; None on a GPU, and where it is not known.
    memory: bytes that a run may take by this; None for half of what this process may take when it is called.
    validated_up_to: tokens of the longest text that was checked against the model, as the manifest says. The first
        longer one warns.
    ranges: of the values of vectors, which `encode` in int8 needs; None in artifacts before 0.7.
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
    run_memory: RunMemory | None = field(default=None, kw_only=True, repr=False)
    memory: int | None = field(default=None, kw_only=True, repr=False)
    again: Callable[[], Encoder] | None = field(default=None, kw_only=True, repr=False)
    validated_up_to: int | None = field(default=None, kw_only=True, repr=False)
    ranges: Ranges | None = field(default=None, kw_only=True, repr=False)
    _told: Event = field(default_factory=Event, init=False, repr=False)
    _cut: Event = field(default_factory=Event, init=False, repr=False)

    @property
    def max_seq_length(self) -> int:
        """Tokens of the longest input, special tokens included; `encode` truncates to it, `embed` refuses more."""
        return self.model.text.max_seq_length

    @property
    def prompts(self) -> Mapping[str, str]:
        """The checkpoint's prompts by name, and those that were given when it was exported."""
        return MappingProxyType(self.tokenizer.text.prompts)

    @overload
    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 32,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        progress: Callable[[int], None] | None = None,
        memory: int | None = None,
        precision: Literal["float32"] = "float32",
        dimensions: int | None = None,
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 32,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        progress: Callable[[int], None] | None = None,
        memory: int | None = None,
        precision: str,
        dimensions: int | None = None,
    ) -> npt.NDArray[Any]: ...
    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 32,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        progress: Callable[[int], None] | None = None,
        memory: int | None = None,
        precision: str = "float32",
        dimensions: int | None = None,
    ) -> npt.NDArray[Any]:
        """Embed texts.

        Texts of similar length share a batch, so that little padding is computed. The rows are in input order. Texts
        are read as they are needed: of many, a call holds a few thousand and the vectors.

        Args:
            texts: any number of texts; longer ones are truncated to `max_seq_length`.
            batch_size: the most texts in one run; fewer where they are long, as more would not be faster on a CPU.
            prompt: text to put before each text; None for the prompt `prompt_name`.
            prompt_name: a name in `prompts`; None for the checkpoint's default prompt, if it has one.
            progress: called after each batch with the number of texts done so far.
            memory: bytes that one run may take on a CPU, by estimate; None for what `load` was given. A text that takes
                more runs alone.
            precision: of a value, as sentence-transformers' `quantize_embeddings` makes it: `float32`; `int8` or
                `uint8`, in 255 steps across the ranges that the artifact stores; `binary` or `ubinary`,
                its sign, eight values in a byte.
            dimensions: values to keep of each vector, from the first, for a model that was trained for it (Matryoshka);
                unit vectors have unit length again. None keeps all.

        Returns:
            float32 [len(texts), dim]; with fewer `dimensions` so many values a row. int8 for `int8` and `binary`, uint8
            for `uint8` and `ubinary`; of the binary ones an eighth of the values, rounded up.

        Raises:
            InputError: an argument is invalid, or a text gives no token; the artifact lacks what a precision needs.
            CheckFailed: a vector is not finite, or is zero, or all that is kept of it is.
            OutOfMemory: one text takes more memory than this process may have.
        """
        read, count = check_texts(texts, batch_size)
        require_memory(memory)
        small = self._small(precision, dimensions)
        put_before = self.tokenizer.resolve_prompt(prompt, prompt_name)
        left_out, folded = self.tokenizer.left_out(put_before), self.folded.get(put_before)
        vectors = np.empty((count, small.width), dtype=small.dtype)
        first = done = 0
        for piece in pieces(read, _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE):
            rows = self._rows(piece, put_before, left_out, first)
            longest = max(map(len, rows))
            self._warn_beyond(longest)
            budget = self._budget(memory, min(batch_size, len(rows)), longest, 0 if folded is None else len(folded.ids))
            if len(vectors) < first + len(rows):
                vectors.resize((first + len(rows) + first // 8, small.width), refcheck=False)
            for part in parts(rows, left_out, self.model.text.padding_side, folded):
                for batch in part.batches(batch_size, budget):
                    names = [f"text {first + index} ({shorten(piece[index])})" for index in batch]
                    run = partial(self._run_rows, part, batch, names)
                    cut = small.cut(in_halves(run, 0, len(batch)))
                    if small.dimensions is not None:
                        self._refuse(cut, names)
                    vectors[[first + index for index in batch]] = small.of(cut)
                    done += len(batch)
                    if progress is not None:
                        progress(done)
            first += len(rows)
        if len(vectors) > done:
            vectors.resize((done, small.width), refcheck=False)
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
        budget = self._budget(None, *ids.shape)
        step = len(ids) if budget is None else budget.rows(ids.shape[1])
        run = partial(self._run_ids, ids, mask)
        parts = [in_halves(run, start, min(start + step, len(ids))) for start in range(0, len(ids), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _rows(self, texts: Sequence[str], prompt: str, left_out: int, first: int) -> list[list[int]]:
        """Ids of texts, the first of which is the caller's text `first`."""
        rows = self.tokenizer.ids(texts, prompt, first=first)
        for index, row in enumerate(rows):
            if len(row) <= left_out:
                besides = " besides the prompt" if left_out else ""
                raise InputError(
                    f"text {first + index} ({shorten(texts[index])}) gives no token{besides}, and the embedding of "
                    "nothing is undefined. Leave it out."
                )
        return rows

    def _budget(self, memory: int | None, rows: int, seq: int, behind: int = 0) -> Budget | None:
        """What a run may take, where at most `rows` of `seq` tokens run at once, behind a folded prompt or not."""
        if self.run_memory is None:
            return None
        memory = memory or self.memory
        if memory is None:
            needed = self.run_memory.bytes_of(rows, seq, behind)
            memory = _LITTLE if needed <= _LITTLE else default_memory()
        return Budget(memory, self.run_memory)

    def _run_rows(
        self, part: Part, batch: Sequence[int], names: Sequence[str], start: int, stop: int
    ) -> npt.NDArray[np.float32]:
        """Run rows `start` to `stop` of a batch, padded to the longest among them."""
        rows = [part.rows[index] for index in batch[start:stop]]
        text = self.model.text
        padded = pad(rows, part.padding_side, text.pad_token_id, left_out=[part.left_out] * len(rows))
        return self._run(*padded, names[start:stop], part.run or self.session.run)

    def _run_ids(
        self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], start: int, stop: int
    ) -> npt.NDArray[np.float32]:
        """Run rows `start` to `stop` of ids and their mask, as they are."""
        names = [f"row {index}" for index in range(start, stop)]
        return self._run(ids[start:stop], mask[start:stop], names, self.session.run)

    def _run(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], names: Sequence[str], run: Run
    ) -> npt.NDArray[np.float32]:
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
                f"the {self.strategy} {self.dtype} model gave {vectors.dtype} {list(vectors.shape)}; "
                f"expected {self.output.dtype} {list(expected)}, as its manifest says. Export the model again."
            )
        self._refuse(vectors, names)
        return vectors

    def _refuse(self, vectors: npt.NDArray[np.float32], names: Sequence[str]) -> None:
        for reason, rows in refusals(vectors, self.output):
            raise _refused(rows, reason, names)

    def _small(self, precision: str, dimensions: int | None) -> SmallVectors:
        """What is to become of each vector; warns, once, of a cut that the checkpoint was not trained for."""
        normalized = "normalize" in self.model.modules[-1:]
        made = small_vectors(precision, dimensions, dim=self.dim, normalized=normalized, ranges=self.ranges)
        trained = self.model.matryoshka_dimensions
        if made.dimensions is not None and made.dimensions not in trained and not self._cut.is_set():
            self._cut.set()
            listed = ", ".join(map(str, trained))
            says = f"says that it was trained for {listed}" if trained else "does not say for which"
            warnings.warn(
                f"dimensions is {made.dimensions}: right for a model that was trained for vectors of that length "
                f"(Matryoshka), and this checkpoint {says}. Measure it on your data.",
                UserWarning,
                stacklevel=3,
            )
        return made

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


def _refused(rows: npt.NDArray[np.intp], reason: str, names: Sequence[str]) -> CheckFailed:
    """The error for rows that are not returned."""
    shown = ", ".join(names[row] for row in rows[:_SHOWN])
    more = f" and {rows.size - _SHOWN} more" if rows.size > _SHOWN else ""
    return CheckFailed(
        f"the vector is {reason} for {shown}{more}; expected finite values, not all zero. Nothing is returned. "
        "Try dtype fp32, and `poolfold validate` on these texts."
    )
