"""Texts to rows of ids, and rows to a padded batch.

Reads the content of tokenizer.json and the manifest's `Text`. Independent of graphs, sessions and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError, is_failure
from poolfold.manifest import Text
from poolfold.tokenise.batches import pieces
from poolfold.tokenise.beginning import beginning, may_cut

# Characters a token, of which a text is first given: few texts have more, and for those it is done again.
_CHARACTERS = 16
# A tokeniser's result takes far more memory than the ids, so texts are tokenised in pieces.
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 1024, 2**20


class Tokenizer:
    """A checkpoint's tokeniser: special tokens added, truncated to the model's limit, never padded.

    Safe to share between threads: nothing changes after construction.
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
        if text.max_seq_length < max(special, 1):
            raise InputError(
                f"max_seq_length is {text.max_seq_length}, and the tokeniser adds {special} special tokens. "
                f"Expected at least {max(special, 1)}; correct the checkpoint's max_seq_length."
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
        self._may_cut = text.truncation_side == "right" and may_cut(tokenizer_json)

    def ids(self, texts: Sequence[str], prompt: str = "", *, first: int = 0) -> list[list[int]]:
        """Token ids of each text, `prompt` put before it; lists of different lengths, `max_seq_length` at most.

        Args:
            texts: any number of them.
            prompt: may be empty.
            first: the number of the first text, for messages.

        Raises:
            InputError: a text that the tokeniser refuses, or an id outside the embedding table; names the text.
        """
        rows: list[list[int]] = []
        for piece in pieces((prompt + text for text in texts), _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE):
            start = first + len(rows)
            rows.extend(self._of_beginnings(piece, start) if self._may_cut else self._encode(piece, start))
        for index, row in enumerate(rows):
            if row and (highest := max(row)) >= self.vocab_size:
                token = self._tokenizer.id_to_token(highest)
                raise InputError(
                    f"text {first + index} ({shorten(texts[index])}) holds the token {token!r}, whose id {highest} has "
                    f"no row in the model's embedding table of {self.vocab_size} rows. Leave that token out of the "
                    "text."
                )
        return rows

    def _of_beginnings(self, texts: list[str], start: int) -> Iterator[list[int]]:
        """As `_encode`, without the part of a text that no id comes from: a text of 10 MB would take a gigabyte."""
        most = self.text.max_seq_length
        length = most * _CHARACTERS
        cut = [text if len(text) <= length else beginning(text, length) for text in texts]
        for index, row in enumerate(self._encode(cut, start)):
            reached = length
            # Fewer ids than are kept: the next tokens lie behind the cut.
            while len(row) < most and len(cut[index]) < len(texts[index]):
                reached *= 4
                cut[index] = beginning(texts[index], reached)
                (row,) = self._encode([cut[index]], start + index)
            yield row

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

    def _encode(self, texts: list[str], start: int) -> Iterator[list[int]]:
        """Encode texts, the first of which is the caller's text `start`."""
        try:
            encodings = self._tokenizer.encode_batch_fast(texts)
        except BaseException as error:
            if not is_failure(error):
                raise
            for index, text in enumerate(texts, start):
                self._explain(index, text)
            raise
        return (encoding.ids for encoding in encodings)

    def _explain(self, index: int, text: str) -> None:
        """Raise the InputError that names a text, if it is one that the tokeniser refuses."""
        try:
            text.encode()
            self._tokenizer.encode_batch_fast([text])
        except UnicodeEncodeError as error:
            raise InputError(
                f"text {index} holds a lone surrogate, {text[error.start]!r}, which is no character and has no UTF-8 "
                "form. Decode it with errors='replace' where it is read."
            ) from None
        except BaseException as error:
            if not is_failure(error):
                raise
            raise InputError(f"the tokeniser refuses text {index} ({shorten(text)}): {error}") from error

    def resolve_prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        """The prompt to use: `prompt` itself, else the one called `prompt_name`, else the default one, else none.

        Raises:
            InputError: there is no prompt of that name.

        Source: sentence-transformers, `encode`.
        """
        prompts = self.text.prompts
        for name, value in (("prompt", prompt), ("prompt_name", prompt_name)):
            if value is not None and not isinstance(value, str):
                raise InputError(f"{name} is of type {type(value).__name__}; expected str or None.")
        if prompt is not None:
            return prompt
        if prompt_name is None:
            return prompts.get(self.text.default_prompt_name or "", "")
        if prompt_name not in prompts:
            names = ", ".join(map(repr, prompts)) or "none"
            raise InputError(f"no prompt is called {prompt_name!r}; this model's prompts: {names}. Or pass prompt=...")
        return prompts[prompt_name]


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


def shorten(text: str) -> str:
    """The beginning of a text, quoted for a message; characters that do not print are escaped."""
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}..."
