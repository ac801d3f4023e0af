"""What a caller may change about an encoder, by sentence-transformers' names; threads that share it share that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from poolfold.encoder.similarity import read_measure
from poolfold.manifest import Model
from poolfold.tokenise import Reading, Tokenizer

QUERY, DOCUMENT = ("query",), ("document", "passage", "corpus")
"""Names of the prompts that `encode_query` and `encode_document` look for, the first one first."""

_State = tuple[dict[str, str], str | None, int | None, int | None, str]


class Settings:
    """Prompts, limits and the measure of similarity: the checkpoint's, until they are set.

    default_prompt_name: the prompt of a call that names none; None for no prompt.
    truncate_dim: values to keep of each vector where a call does not say; None for all.
    """

    tokenizer: Tokenizer
    model: Model
    dim: int
    default_prompt_name: str | None
    truncate_dim: int | None

    def __post_init__(self) -> None:
        """Take the checkpoint's."""
        self._set(self._of_checkpoint())

    def _of_checkpoint(self) -> _State:
        text = self.tokenizer.text
        # Two names are there in sentence-transformers, whatever the checkpoint has.
        prompts = dict.fromkeys((QUERY[0], DOCUMENT[0]), "") | text.prompts
        return prompts, text.default_prompt_name, None, None, self.model.similarity

    def _set(self, state: _State) -> None:
        self._prompts, self.default_prompt_name, self.truncate_dim, self._max_length, self._measure = state

    def _changed(self) -> _State | None:
        """What was set, for another process; None where nothing was."""
        state = self._prompts, self.default_prompt_name, self.truncate_dim, self._max_length, self._measure
        return None if state == self._of_checkpoint() else state

    @property
    def max_seq_length(self) -> int:
        """Tokens of the longest input, special tokens included; `encode` truncates to it, `embed` refuses more."""
        return self._max_length or self.model.text.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, tokens: int | None) -> None:
        self.tokenizer.require(Reading(tokens))
        self._max_length = tokens

    @property
    def prompts(self) -> Mapping[str, str]:
        """The checkpoint's prompts by name, and those that were given when it was exported."""
        return MappingProxyType(self._prompts)

    @prompts.setter
    def prompts(self, prompts: Mapping[str, str]) -> None:
        self._prompts = dict(prompts)

    @property
    def similarity_fn_name(self) -> str:
        """What `similarity` measures: `cosine`, `dot`, `euclidean` or `manhattan`."""
        return self._measure

    @similarity_fn_name.setter
    def similarity_fn_name(self, measure: Any) -> None:
        self._measure = read_measure(measure)

    def get_embedding_dimension(self) -> int:
        """Values of a vector as `encode` gives it."""
        return self.dim if self.truncate_dim is None else min(self.dim, self.truncate_dim)

    get_sentence_embedding_dimension = get_embedding_dimension

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Have `encode` keep so many values of each vector until the block ends."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings
