"""Texts to `input_ids` and `attention_mask`, with the checkpoint's own tokeniser.

Reads the content of tokenizer.json and the manifest's `Text`. Independent of graphs, sessions and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError
from poolfold.manifest import Text

# A tokeniser's result takes far more memory than the ids, so texts are tokenised in pieces.
_TEXTS_AT_ONCE = 1024


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
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(text.max_seq_length, direction=text.truncation_side)

    def ids(self, texts: Sequence[str], prompt: str = "") -> list[list[int]]:
        """Token ids of each text, `prompt` put before it; lists of different lengths, `max_seq_length` at most.

        Raises:
            InputError: a text that the tokeniser refuses, or an id outside the embedding table; names the text.
        """
        rows: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            piece = [prompt + text for text in texts[start : start + _TEXTS_AT_ONCE]]
            rows.extend(self._encode(piece, start))
        for index, row in enumerate(rows):
            if row and max(row) >= self.vocab_size:
                token = self._tokenizer.id_to_token(max(row))
                raise InputError(
                    f"text {index} ({shorten(texts[index])}) holds the token {token!r}, whose id {max(row)} has no row "
                    f"in the model's embedding table of {self.vocab_size} rows. Leave that token out of the text."
                )
        return rows

    def _encode(self, texts: list[str], start: int) -> Iterator[list[int]]:
        """Encode texts, the first of which is the caller's text `start`."""
        try:
            encodings = self._tokenizer.encode_batch_fast(texts)
        except Exception:
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
        except Exception as error:  # tokenizers raises nothing narrower
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
    rows: Sequence[Sequence[int]], side: str, pad_token_id: int, length: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pad rows of ids to the length of the longest row, or to `length` if that is longer.

    Args:
        rows: token ids, of any lengths.
        side: the side of the padding, "left" or "right".
        pad_token_id: the id of padding.
        length: the least number of tokens per row in the result.

    Returns:
        input_ids and attention_mask, int64 [batch, seq]; the mask is 1 on tokens and 0 on padding.
    """
    seq = max([length or 0, *map(len, rows)])
    input_ids = np.full((len(rows), seq), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(rows), seq), dtype=np.int64)
    for index, row in enumerate(rows):
        tokens = slice(seq - len(row), seq) if side == "left" else slice(len(row))
        input_ids[index, tokens] = row
        attention_mask[index, tokens] = 1
    return input_ids, attention_mask


def shorten(text: str) -> str:
    """The beginning of a text, quoted for a message; characters that do not print are escaped."""
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}..."
