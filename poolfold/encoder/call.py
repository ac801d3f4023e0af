"""What one call of `encode` asks for: read from the caller's arguments, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from poolfold.encoder.inputs import Texts, check_batch_size
from poolfold.encoder.progress import Tell
from poolfold.encoder.small_vectors import SmallVectors, small_vectors
from poolfold.encoder.warn import warn_caller
from poolfold.errors import InputError
from poolfold.sessions.memory import require_memory
from poolfold.tokenise import Reading

if TYPE_CHECKING:
    from poolfold.encoder.encoder import Encoder

BATCH_SIZE = 32
"""The most texts in a run where a call does not say."""


class Options(TypedDict, total=False):
    """The arguments of `encode` that do not change the type of what it gives."""

    inputs: Texts | None
    sentences: Texts | None
    prompt_name: str | None
    prompt: str | None
    show_progress_bar: bool | None
    device: str | Sequence[str] | None
    normalize_embeddings: bool
    truncate_dim: int | None
    pool: dict[str, Any] | None
    chunk_size: int | None
    task: str | None
    progress: Tell | None
    memory: int | None
    dimensions: int | None
    max_length: int | None
    truncate: bool | None
    truncation_side: str | None
    special_tokens: bool


@dataclass(frozen=True)
class Call:
    """What a call asks for, all of it checked and resolved, so that another process can carry it out.

    prompt: put before each text.
    batch_size: the most texts in a run.
    memory: bytes that a run may take; None for what the encoder was given.
    reading: how texts become ids.
    truncate: whether texts of more tokens are cut; None cuts them, and warns once.
    small: what is to become of each vector.
    """

    prompt: str
    batch_size: int
    memory: int | None
    reading: Reading
    truncate: bool | None
    small: SmallVectors


def read_call(
    encoder: Encoder,
    batch_size: int | str = BATCH_SIZE,
    *,
    prompt_name: str | None = None,
    prompt: str | None = None,
    precision: str | None = "float32",
    normalize_embeddings: bool = False,
    truncate_dim: int | None = None,
    memory: int | None = None,
    dimensions: int | None = None,
    max_length: int | None = None,
    truncate: bool | None = None,
    truncation_side: str | None = None,
    special_tokens: bool = True,
) -> Call:
    """The arguments of `Encoder.encode`, checked; what they leave open is as the encoder has it.

    Raises:
        InputError: one of them is invalid.
    """
    if isinstance(batch_size, str):
        prompt_name = named_once(batch_size, prompt_name)
        batch_size = BATCH_SIZE
    require_memory(memory)
    small = small_vectors(
        precision,
        dimensions,
        dim=encoder.dim,
        normalized="normalize" in encoder.model.modules[-1:],
        ranges=encoder.ranges,
        truncate_dim=encoder.truncate_dim if truncate_dim is None and dimensions is None else truncate_dim,
        normalize=normalize_embeddings,
    )
    reading = read_reading(encoder, max_length, truncation_side, special_tokens)
    before = read_prompt(encoder, prompt, prompt_name)
    return Call(before, check_batch_size(batch_size), memory, reading, truncate, small)


def read_reading(encoder: Encoder, max_length: int | None, side: str | None, special_tokens: bool) -> Reading:
    """How texts are read; the encoder's own limit where a call has none."""
    limit, model = encoder.max_seq_length, encoder.model.text.max_seq_length
    lower = None if limit == model else limit
    reading = Reading(lower if max_length is None else max_length, side, bool(special_tokens))
    encoder.tokenizer.require(reading)
    return reading


def read_prompt(encoder: Encoder, prompt: str | None, prompt_name: str | None) -> str:
    """The prompt to use: `prompt` itself, else the one called `prompt_name`, else the default one, else none.

    Raises:
        InputError: there is no prompt of that name.

    Source: sentence-transformers, `encode`.
    """
    prompts = encoder.prompts
    for name, value in (("prompt", prompt), ("prompt_name", prompt_name)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name} is of type {type(value).__name__}; expected str or None.")
    if prompt is not None:
        if prompt_name is not None:
            warn_caller(f"got both prompt and prompt_name {prompt_name!r}; prompt is taken. Leave one out.")
        return prompt
    if prompt_name is None:
        return prompts.get(encoder.default_prompt_name or "", "")
    if prompt_name not in prompts:
        names = ", ".join(map(repr, prompts)) or "none"
        raise InputError(f"no prompt is called {prompt_name!r}; this model's prompts: {names}. Or pass prompt=...")
    return prompts[prompt_name]


def named_once(positional: str, by_name: str | None) -> str:
    """The name of a prompt that stands where a batch size may stand.

    Raises:
        InputError: another one is named besides.
    """
    if by_name is not None:
        raise InputError(f"got two prompts' names, {positional!r} and prompt_name {by_name!r}. Leave one out.")
    return positional
