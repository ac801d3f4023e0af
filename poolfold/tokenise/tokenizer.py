"""Texts to rows of ids, and rows to a padded batch.

Reads the content of tokenizer.json and the manifest's `Text`. Independent of graphs, sessions and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError, is_failure
from poolfold.manifest import Text
from poolfold.tokenise.batches import pieces
from poolfold.tokenise.beginning import beginning, may_cut
from poolfold.tokenise.reading import AS_EXPORTED, Input, Reading, first_of, with_prompt
from poolfold.tokenise.twin import twin

if TYPE_CHECKING:
    import tokenizers

# Characters a token, of which a text is first given: few texts have more, and for those it is done again.
_CHARACTERS = 16
# A tokeniser's result takes far more memory than the ids, so texts are tokenised in pieces.
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 1024, 2**20
_READERS = 8
"""Ways of reading that are kept ready."""


class Rows(NamedTuple):
    """What texts were read as.

    ids: of each text, at most as many as are kept.
    cut: the indices of texts that have more tokens than are kept.
    """

    ids: list[list[int]]
    cut: list[int]


class Token(NamedTuple):
    """One token of a text.

    start, stop: of its characters in the text; None for a special token.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class _Reader(NamedTuple):
    """A tokeniser that cuts at `most` tokens; `beginnings`: of a long text it needs the beginning alone."""

    tokenizer: tokenizers.Tokenizer
    most: int
    beginnings: bool


class Tokenizer:
    """A checkpoint's tokeniser: special tokens added, truncated to the model's limit, never padded.

    Safe to share between threads: what changes after construction is a cache of further readers.
    """

    def __init__(self, tokenizer_json: str, text: Text, vocab_size: int) -> None:
        """Build a tokeniser from the content of tokenizer.json; its own padding and truncation are disabled.

        Raises:
            InputError: tokenizer.json cannot be read, or it and `text` disagree with each other or with the vocabulary.
        """
        import tokenizers

        self.text = text
        self.vocab_size = vocab_size
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # tokenizers raises nothing narrower
            raise InputError(
                f"tokenizer.json cannot be read by tokenizers {tokenizers.__version__}: {error}. "
                "Upgrade tokenizers, or export the model again."
            ) from error
        for name, side in (("padding_side", text.padding_side), ("truncation_side", text.truncation_side)):
            if side not in ("left", "right"):
                raise InputError(f"{name} is {side!r}; expected 'left' or 'right'. Correct the checkpoint's {name}.")
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        # With a lower limit, tokenizers silently truncates nothing.
        self._least = max(special, 1)
        if text.max_seq_length < self._least:
            raise InputError(
                f"max_seq_length is {text.max_seq_length}, and the tokeniser adds {special} special tokens. "
                f"Expected at least {self._least}; correct the checkpoint's max_seq_length."
            )
        if not 0 <= text.pad_token_id < vocab_size:
            raise InputError(
                f"pad_token_id is {text.pad_token_id}; expected an id in [0, {vocab_size}), the rows of the embedding "
                "table. The tokeniser belongs to another checkpoint; use this model's own."
            )
        added = self._tokenizer.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(text.max_seq_length, direction=text.truncation_side)
        self._may_cut = may_cut(tokenizer_json)
        usual = _Reader(self._tokenizer, text.max_seq_length, self._may_cut and text.truncation_side == "right")
        self._readers = {AS_EXPORTED: usual}

    def ids(self, texts: Sequence[Input], prompt: str = "", *, first: int = 0) -> list[list[int]]:
        """Token ids of each text, as `read` gives them."""
        return self.read(texts, prompt, first=first).ids

    def read(self, texts: Sequence[Input], prompt: str = "", *, first: int = 0, reading: Reading = AS_EXPORTED) -> Rows:
        """Token ids of each text, `prompt` put before it; lists of different lengths, `max_seq_length` at most.

        Args:
            texts: any number of them; a pair of texts is one input.
            prompt: may be empty.
            first: the number of the first text, for messages.
            reading: how.

        Raises:
            InputError: a text that the tokeniser refuses, or an id outside the embedding table; names the text. A pair
                whose second text the model would tell apart by a token type. There is no such reading.
        """
        reader = self._reader(reading)
        ids: list[list[int]] = []
        cut: list[int] = []
        for piece in pieces((with_prompt(prompt, text) for text in texts), _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE):
            start = first + len(ids)
            for row, is_cut in self._of_beginnings(reader, piece, start):
                if is_cut:
                    cut.append(len(ids))
                ids.append(row)
        for index, row in enumerate(ids):
            if row and (highest := max(row)) >= self.vocab_size:
                token = self._tokenizer.id_to_token(highest)
                raise InputError(
                    f"text {first + index} ({shorten(texts[index])}) holds the token {token!r}, whose id {highest} has "
                    f"no row in the model's embedding table of {self.vocab_size} rows. Leave that token out of the "
                    "text."
                )
        return Rows(ids, cut)

    def counts(self, texts: Sequence[Input], prompt: str = "", *, special_tokens: bool = True) -> list[int]:
        """How many tokens each text has, special ones and the prompt's included, before anything is cut.

        Raises:
            InputError: a text that the tokeniser refuses.
        """
        whole = twin(self._tokenizer)
        whole.no_truncation()
        whole.encode_special_tokens = not special_tokens
        reader = _Reader(whole, 0, beginnings=False)
        return [
            len(encoding.ids)
            for piece in pieces((with_prompt(prompt, text) for text in texts), _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE)
            for encoding in self._encode(reader, piece, 0)
        ]

    def tokens(self, texts: Sequence[str], prompt: str = "", *, special_tokens: bool = True) -> list[list[Token]]:
        """The tokens of each text behind a prompt, before anything is cut; `special_tokens`: with those that are added.

        Raises:
            InputError: a text that the tokeniser refuses.
        """
        whole = twin(self._tokenizer)
        whole.no_truncation()
        reader = _Reader(whole, 0, beginnings=False)
        found = []
        for number, text in enumerate(texts):
            (encoding,) = self._encode(reader, [prompt + text], number, added=special_tokens, offsets=True)
            spans = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
            found.append([self._token(prompt + text, *span) for span in spans])
        return found

    def _token(self, text: str, number: int, token: str, added: int, span: tuple[int, int]) -> Token:
        if added or number in self._special:
            return Token(number, token, True, None, None)
        return Token(number, text[slice(*span)], False, *span)

    def require(self, reading: Reading) -> None:
        """Raise InputError where texts cannot be read so."""
        most, limit = reading.max_length, self.text.max_seq_length
        if most is not None and (
            isinstance(most, bool) or not isinstance(most, int | np.integer) or not self._least <= most <= limit
        ):
            raise InputError(
                f"max_length is {most!r}; expected {self._least} to {limit} tokens, special ones included: what the "
                "tokeniser adds by itself, and what the model accepts."
            )
        if reading.side not in (None, "left", "right"):
            raise InputError(f"truncation_side is {reading.side!r}; expected 'left' or 'right'.")

    def _reader(self, reading: Reading) -> _Reader:
        """A reader that is made once, and shares the vocabulary with all others."""
        kept = self._readers.get(reading)
        if kept is not None:
            return kept
        self.require(reading)
        side, most = reading.side or self.text.truncation_side, reading.max_length or self.text.max_seq_length
        other = twin(self._tokenizer)
        other.enable_truncation(int(most), direction=side)
        other.encode_special_tokens = not reading.special_tokens
        made = _Reader(other, int(most), self._may_cut and side == "right")
        if len(self._readers) >= _READERS:
            self._readers = {AS_EXPORTED: self._readers[AS_EXPORTED]}
        self._readers[reading] = made
        return made

    def _of_beginnings(self, reader: _Reader, texts: list[Input], start: int) -> Iterator[tuple[list[int], bool]]:
        """Ids of each text, and whether it has more; of a long text without the part that no id comes from.

        A text of 10 MB would take a gigabyte.
        """
        length = reader.most * _CHARACTERS
        given = list(texts)
        if reader.beginnings:
            given = [t if isinstance(t, tuple) or len(t) <= length else beginning(t, length) for t in texts]
        for index, encoding in enumerate(self._encode(reader, given, start)):
            reached, whole, part, ids = length, texts[index], given[index], encoding.ids
            # Fewer ids than are kept: the next tokens lie behind the cut.
            while len(ids) < reader.most and part is not whole and len(part) < len(whole):
                reached *= 4
                part = beginning(first_of(whole), reached)
                (encoding,) = self._encode(reader, [part], start + index)
                ids = encoding.ids
            # What was left out holds a letter, and so a token.
            yield ids, len(ids) == reader.most and (len(part) < len(whole) or bool(encoding.overflowing))

    def left_out(self, prompt: str) -> int:
        """How many tokens at the beginning of a row, `prompt` in front, the pooling leaves out; 0 for most models.

        Raises:
            InputError: the prompt alone takes all tokens that the model accepts.

        Source: sentence-transformers, `Transformer._get_prompt_length`: the tokens of the prompt alone, less a special
        one at its end.
        """
        if self.text.include_prompt or not prompt:
            return 0
        (row,) = self.ids([prompt])
        if len(row) >= self.text.max_seq_length:
            raise InputError(
                f"the prompt ({shorten(prompt)}) takes all {self.text.max_seq_length} tokens that this model accepts, "
                "and its tokens are left out of the pooling: nothing of a text would be left. Use a shorter one."
            )
        if not row:
            return 0
        added_at_the_end = self._tokenizer.encode(prompt).special_tokens_mask[-1] == 1
        return len(row) - (added_at_the_end or row[-1] in self._special)

    def _encode(
        self, reader: _Reader, texts: list[Input], start: int, *, added: bool = True, offsets: bool = False
    ) -> list[tokenizers.Encoding]:
        """Encode texts, the first of which is the caller's text `start`; `added`: with special tokens around them."""
        try:
            encode = reader.tokenizer.encode_batch if offsets else reader.tokenizer.encode_batch_fast
            encodings = encode(texts, add_special_tokens=added)
        except BaseException as error:
            if not is_failure(error):
                raise
            for index, text in enumerate(texts, start):
                self._explain(reader, index, text)
            raise
        for index, (text, encoding) in enumerate(zip(texts, encodings, strict=True), start):
            if isinstance(text, tuple) and any(encoding.type_ids):
                raise InputError(
                    f"text {index} ({shorten(text)}) is a pair, and this model tells its second text by a token type, "
                    "which an artifact holds as a constant. Join the two into one text."
                )
        return encodings

    def _explain(self, reader: _Reader, index: int, text: Input) -> None:
        """Raise the InputError that names a text, if it is one that the tokeniser refuses."""
        try:
            for part in text if isinstance(text, tuple) else (text,):
                part.encode()
            reader.tokenizer.encode_batch_fast([text])
        except UnicodeEncodeError as error:
            raise InputError(
                f"text {index} holds a lone surrogate, {text[error.start]!r}, which is no character and has no UTF-8 "
                "form. Decode it with errors='replace' where it is read."
            ) from None
        except BaseException as error:
            if not is_failure(error):
                raise
            raise InputError(f"the tokeniser refuses text {index} ({shorten(text)}): {error}") from error


def pad(
    rows: Sequence[Sequence[int]],
    side: str,
    pad_token_id: int,
    length: int | None = None,
    left_out: Sequence[int] = (),
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pad rows of ids to the length of the longest row, or to `length` if that is longer.

    Args:
        rows: token ids, of any lengths.
        side: the side of the padding, "left" or "right".
        pad_token_id: the id of padding.
        length: the least number of tokens per row in the result.
        left_out: how many tokens at the beginning of each row the pooling leaves out; none where it is empty.

    Returns:
        input_ids and attention_mask, int64 [batch, seq]; the mask is 1 on tokens, 2 on those that the pooling leaves
        out, and 0 on padding.
    """
    seq = max([length or 0, *map(len, rows)])
    input_ids = np.full((len(rows), seq), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(rows), seq), dtype=np.int64)
    for index, row in enumerate(rows):
        tokens = slice(seq - len(row), seq) if side == "left" else slice(len(row))
        input_ids[index, tokens] = row
        attention_mask[index, tokens] = 1
        if left_out:
            attention_mask[index, tokens.start or 0 : (tokens.start or 0) + left_out[index]] *= 2
    return input_ids, attention_mask


def shorten(text: Input) -> str:
    """The beginning of a text, quoted for a message; characters that do not print are escaped."""
    if isinstance(text, tuple):
        return f"{shorten(text[0])}, {shorten(text[1])}"
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}..."
