"""The tokenizer as the installed transformers reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from exporter.host.quiet import quiet_transformers
from poolfold.errors import CheckpointError


def read_library(folder: Path, *, trust_remote_code: bool) -> Any:
    """The tokenizer of `AutoTokenizer`, with a vocabulary.

    Raises:
        CheckpointError: there is none.
    """
    try:
        with quiet_transformers():
            source: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
    except Exception as error:  # broken tokenizer files fail in many ways
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: {error}. Expected tokenizer.json beside config.json."
        ) from error
    # Without any vocabulary file transformers makes up one of special tokens.
    if source.is_fast and source.backend_tokenizer.get_vocab_size(with_added_tokens=True) <= len(
        source.all_special_ids
    ):
        raise CheckpointError(f"{folder} has no vocabulary. Expected tokenizer.json beside config.json.")
    return source


def library_rows(source: Any, texts: Sequence[str], limit: int | None = None) -> list[list[int] | None]:
    """Ids of each text, special tokens included, cut to `limit` tokens; None for a text that it fails on."""
    with quiet_transformers():
        try:
            return list(_call(source, list(texts), limit))
        except Exception:  # one text is enough; each class fails in its own way
            return [_one(source, text, limit) for text in texts]


def _one(source: Any, text: str, limit: int | None) -> list[int] | None:
    try:
        return _call(source, [text], limit)[0]
    except Exception:
        return None


def _call(source: Any, texts: list[str], limit: int | None) -> list[list[int]]:
    given: dict[str, Any] = {} if limit is None else {"max_length": limit}
    rows: list[list[int]] = source(texts, padding=False, truncation=limit is not None, **given)["input_ids"]
    return rows
