"""What is read, and how: a text or a pair of texts; how many of its tokens are kept, and from which side."""

from __future__ import annotations

from typing import NamedTuple

Input = str | tuple[str, str]
"""A text; or two, which are read as one input with the tokeniser's separator between them."""


class Reading(NamedTuple):
    """How a call has its texts read.

    max_length: tokens that are kept, special ones included; None for as many as the model accepts.
    side: of a text from which further tokens are dropped, `left` or `right`; None for the checkpoint's.
    special_tokens: whether the text of a special token, such as `[SEP]`, is that token; else it is read as any other
        text is.
    """

    max_length: int | None = None
    side: str | None = None
    special_tokens: bool = True


AS_EXPORTED = Reading()


def with_prompt(prompt: str, text: Input) -> Input:
    """A text behind a prompt; of a pair, the first one."""
    return (prompt + text[0], text[1]) if isinstance(text, tuple) else prompt + text


def first_of(text: Input) -> str:
    """A text, or the first of a pair."""
    return text[0] if isinstance(text, tuple) else text


def characters(text: Input) -> int:
    """Of a text, or of both of a pair."""
    return len(text[0]) + len(text[1]) if isinstance(text, tuple) else len(text)
