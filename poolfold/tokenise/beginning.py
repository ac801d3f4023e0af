"""The beginning of a long text, whose tokens are the first tokens of the whole text: the rest need not be tokenised.

A text may be cut at a space between two ASCII letters where the tokeniser provably treats what stands before it alike,
whatever follows. That holds if

- no step of the normalizer looks beyond a character and what combines with it, or changes a single space;
- the pre-tokenizer ends a piece there, and its steps look at nothing but the piece that they split;
- the model sees one piece at a time;
- no added token holds white space, so that none spans the cut.

Tokenisers with any other step are never cut for: those of Llama and Gemma merge over the whole text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_CUT = re.compile(r"[A-Za-z](?= [A-Za-z])")

_LOCAL = {
    "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend", "StripAccents",
    "Strip",  # at the ends alone: a cut text ends in a letter
}  # fmt: skip
"""Normalizers that look at a character and what combines with it."""

_SPLITS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
"""Pre-tokenizers that end a piece at each white space, and drop it."""
_KEEPS_SPACES = {"Digits", "Punctuation"}
"""Pre-tokenizers that leave a space between letters as it is."""
_LOOKS_AT_PIECES = _SPLITS | _KEEPS_SPACES | {"ByteLevel", "Metaspace"}
"""Pre-tokenizers that look at nothing but the piece that they split."""
_WORDS = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    *(
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        for numbers in (r"\p{N}", r"\p{N}{1,3}")
    ),
)
"""Regular expressions of `Split`, of GPT-2, Qwen2 and Llama 3: after a letter, a match goes on over letters alone."""

_MODELS = {"BPE", "Unigram", "WordLevel", "WordPiece"}


class _Model(msgspec.Struct):
    type: str = ""
    dropout: float | None = None


class _File(msgspec.Struct):
    """The parts of tokenizer.json that decide; the vocabulary is skipped."""

    model: _Model
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    added_tokens: list[dict[str, Any]] = []


def may_cut(tokenizer_json: str) -> bool:
    """Whether a tokeniser gives the tokens of a text's beginning whatever follows the cut; False where in doubt."""
    try:
        file = msgspec.json.decode(tokenizer_json, type=_File)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return False
    steps = list(_steps(file.pre_tokenizer, "pretokenizers"))
    before = list(itertools.takewhile(lambda step: not _splits(step), steps))
    return (
        file.model.type in _MODELS
        and not file.model.dropout
        and all(map(_is_local, _steps(file.normalizer, "normalizers")))
        and len(before) < len(steps)
        and all(step.get("type") in _KEEPS_SPACES for step in before)
        and all(_splits(step) or step.get("type") in _LOOKS_AT_PIECES for step in steps)
        and not any(re.search(r"[\s\u2581]", str(token.get("content"))) for token in file.added_tokens)
    )


def beginning(text: str, length: int) -> str:
    """At least `length` characters of a text, cut where `may_cut` allows; all of it where there is no such place."""
    place = _CUT.search(text, length - 1)
    return text if place is None else text[: place.end()]


def _steps(part: Mapping[str, Any] | None, sequence: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a normalizer or a pre-tokenizer, sequences taken apart."""
    if part is None:
        return
    if part.get("type") != "Sequence":
        yield part
        return
    for step in part.get(sequence, []):
        yield from _steps(step, sequence)


def _is_local(step: Mapping[str, Any]) -> bool:
    if step.get("type") != "Replace":
        return step.get("type") in _LOCAL
    match step.get("pattern"):
        case {"Regex": " {2,}" | r"\s{2,}"}:
            return True
        case {"Regex": r"\s+"}:
            return step.get("content") == " "
        case {"String": str(text)}:
            # It matches neither the letters at the cut nor the space between them.
            return not re.search(r"[A-Za-z\s\u2581]", text)
    return False


def _splits(step: Mapping[str, Any]) -> bool:
    """Whether a step of the pre-tokenizer ends a piece before a space between letters."""
    match step.get("type"):
        case "ByteLevel":
            return bool(step.get("use_regex", True))
        case "Metaspace":
            return bool(step.get("split", True))
        case "Split":
            behaviour = step.get("behavior")
            pattern = step.get("pattern", {})
            if pattern.get("String") == " ":
                return not step.get("invert") and behaviour in ("Isolated", "MergedWithNext", "Removed")
            return pattern.get("Regex") in _WORDS and behaviour in ("Isolated", "Removed")
        case kind:
            return kind in _SPLITS
