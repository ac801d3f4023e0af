"""The tokenizer as one tokenizer.json that the `tokenizers` library loads alone, and the numbers that go with it.

Truncation and padding are left out of the file: the runtime sets both. Knows nothing of the model but the size of its
embedding table.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers
from transformers import AutoTokenizer

from exporter.host.quiet import quiet_transformers
from poolfold.errors import CheckpointError

log = logging.getLogger(__name__)

_NO_LIMIT = 10**9
"""transformers writes 1e30 where a tokenizer has no limit."""


@dataclass(frozen=True)
class TokenizerFile:
    """`json` is tokenizer.json; `limit` is the tokenizer's own in tokens, None where it has none.

    `token_types` says whether it hands token_type_ids to the model.
    """

    json: str
    pad_token_id: int
    padding_side: str
    truncation_side: str
    limit: int | None
    token_types: bool


def read_tokenizer(
    folder: Path, *, vocab_size: int, lower_case: bool = False, trust_remote_code: bool = False
) -> TokenizerFile:
    """Read a tokenizer in any form that transformers reads.

    Args:
        folder: where its files lie.
        vocab_size: rows of the embedding table; every id must be smaller.
        lower_case: put lower-casing in front, as sentence-transformers does for `do_lower_case`.
        trust_remote_code: run the tokenizer code of the checkpoint.

    Raises:
        CheckpointError: there is none, none that `tokenizers` can run, none with a padding token, or its ids lie beyond
            the embedding table.
    """
    source = _load(folder, trust_remote_code=trust_remote_code)
    tokenizer = Tokenizer.from_str(source.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if lower_case and not _lower_cases(json.loads(tokenizer.to_str())["normalizer"]):
        then = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *then])
    _check_ids(tokenizer, vocab_size, folder)
    limit = int(source.model_max_length)
    return TokenizerFile(
        json=tokenizer.to_str(),
        pad_token_id=_pad_token_id(source, folder),
        padding_side=source.padding_side,
        truncation_side=source.truncation_side,
        limit=limit if 0 < limit < _NO_LIMIT else None,
        token_types="token_type_ids" in source.model_input_names,
    )


def _load(folder: Path, *, trust_remote_code: bool) -> Any:
    """The tokenizer of transformers, with a vocabulary and a `tokenizers` backend."""
    try:
        with quiet_transformers():
            source: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
    except Exception as error:  # broken tokenizer files fail in many ways
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: {error}. Expected tokenizer.json beside config.json."
        ) from error
    if not source.is_fast:
        raise CheckpointError(
            f"{folder} has a tokenizer that only Python can run ({type(source).__name__}). "
            "Convert it to tokenizer.json, which the tokenizers library runs everywhere."
        )
    # Without any vocabulary file transformers makes up one of special tokens.
    if source.backend_tokenizer.get_vocab_size(with_added_tokens=True) <= len(source.all_special_ids):
        raise CheckpointError(f"{folder} has no vocabulary. Expected tokenizer.json beside config.json.")
    return source


def _lower_cases(normalizer: dict[str, Any] | None) -> bool:
    """Whether a Lowercase step is there; looked for where sentence-transformers looks for it."""
    if normalizer is None:
        return False
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    return any(step["type"] == "Lowercase" for step in steps)


def _check_ids(tokenizer: Tokenizer, vocab_size: int, folder: Path) -> None:
    beyond = {token: i for token, i in tokenizer.get_vocab(with_added_tokens=True).items() if i >= vocab_size}
    if beyond:
        token, largest = max(beyond.items(), key=lambda item: item[1])
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {largest}, the embedding table has {vocab_size} rows; "
            f"{len(beyond)} tokens lie beyond it, such as {token!r}. Take both from the same checkpoint."
        )


def _pad_token_id(source: Any, folder: Path) -> int:
    if source.pad_token_id is not None:
        return int(source.pad_token_id)
    if source.eos_token_id is None:
        raise CheckpointError(f"{folder}: the tokenizer has no padding token. Set pad_token in tokenizer_config.json.")
    log.warning("the tokenizer has no padding token; padding with its end token %r", source.eos_token)
    return int(source.eos_token_id)
