"""The tokenizer as one tokenizer.json that the `tokenizers` library loads alone, and the numbers that go with it.

Truncation and padding are left out of the file: the runtime sets both. Knows nothing of the model but the size of its
embedding table.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from exporter.model.checkpoint.padding_token import pad_token_id
from exporter.model.checkpoint.published_tokenizer import read_tokenizer_config
from exporter.model.checkpoint.tokenizer_readings import Readings, check_end, read_both
from exporter.spec.origin import TokenizerSource
from poolfold.errors import CheckpointError
from poolfold.manifest import Text, TokenizerReading
from poolfold.tokenise import Tokenizer as ArtifactTokenizer
from poolfold.tokenise import shorten

log = logging.getLogger(__name__)

_NO_LIMIT = 10**9
"""transformers writes 1e30 where a tokenizer has no limit."""


@dataclass(frozen=True)
class TokenizerFile:
    """`json` is tokenizer.json; `limit` is the tokenizer's own in tokens, None where it has none.

    token_types: whether it hands token_type_ids to the model.
    reading: whose ids these are, and how often the other reading gives others.
    readings: what it was made from, lower-casing included.
    """

    json: str
    pad_token_id: int
    padding_side: str
    truncation_side: str
    limit: int | None
    token_types: bool
    reading: TokenizerReading
    readings: Readings = field(repr=False, compare=False)


def read_tokenizer(
    folder: Path,
    *,
    vocab_size: int,
    lower_case: bool = False,
    trust_remote_code: bool = False,
    source: TokenizerSource = TokenizerSource.FILE,
    pools_last: bool = False,
) -> TokenizerFile:
    """Read a tokenizer: tokenizer.json as published, or any form that transformers reads.

    Args:
        folder: where its files lie.
        vocab_size: rows of the embedding table.
        lower_case: put lower-casing in front, as sentence-transformers does for `do_lower_case`.
        trust_remote_code: run the tokenizer code of the checkpoint.
        source: whose ids to take where there is a tokenizer.json.
        pools_last: whether a text's vector is that of its last token.

    Raises:
        CheckpointError: there is none, none that `tokenizers` can run, none with a padding token, its ids lie beyond
            the embedding table, or its two readings cannot be reconciled.
    """
    config = read_tokenizer_config(folder)
    readings = read_both(folder, config, vocab_size, source, trust_remote_code=trust_remote_code)
    tokenizer = readings.tokenizer
    tokenizer.no_truncation()  # transformers leaves its own there
    tokenizer.no_padding()
    if pools_last:
        check_end(readings, vocab_size)
    if lower_case and not _lower_cases(json.loads(tokenizer.to_str())["normalizer"]):
        then = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *then])
    _check_ids(tokenizer, vocab_size, folder)
    library = readings.library

    def setting(name: str, default: Any) -> Any:
        return config.fields.get(name, default) if library is None else getattr(library, name, default)

    limit = setting("model_max_length", _NO_LIMIT)
    return TokenizerFile(
        json=tokenizer.to_str(),
        pad_token_id=pad_token_id(readings, vocab_size),
        padding_side=setting("padding_side", (readings.padding or {}).get("direction", "right")),
        truncation_side=setting("truncation_side", "right"),
        limit=int(limit) if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT else None,
        token_types="token_type_ids" in setting("model_input_names", ("token_type_ids",)),
        reading=readings.record,
        readings=readings,
    )


def check_artifact_ids(tokenizer: TokenizerFile, text: Text, vocab_size: int) -> None:
    """Check that what an artifact will tokenise with gives the ids of the reading, cut to the model's limit.

    Raises:
        CheckpointError: it gives others.
        InputError: `text` and the tokenizer disagree.
    """
    artifact = ArtifactTokenizer(tokenizer.json, text, vocab_size)
    readings = tokenizer.readings
    rows = readings.rows(text.max_seq_length, text.truncation_side)
    expected = {
        text: row
        for text, row in zip(readings.texts, rows, strict=True)
        if row is not None and max(row, default=0) < vocab_size
    }
    for (sample, want), got in zip(expected.items(), artifact.ids(list(expected)), strict=True):
        if want != got:
            raise CheckpointError(
                f"{readings.folder}: the artifact's tokenizer.json gives {shorten(sample)} the ids {got}, and the "
                f"checkpoint's tokenizer gives {want}. It does something that tokenizer.json cannot express, such as "
                "dropout or steps in Python; convert it to one that does not."
            )


def _lower_cases(normalizer: dict[str, Any] | None) -> bool:
    """Whether a Lowercase step is there; looked for where sentence-transformers looks for it."""
    if normalizer is None:
        return False
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    return any(step["type"] == "Lowercase" for step in steps)


def _check_ids(tokenizer: Tokenizer, vocab_size: int, folder: Path) -> None:
    """Refuse a vocabulary beyond the embedding table, but for added tokens that a text need not hold.

    EmbeddingGemma has one, which stands for an image.
    """
    beyond = {token: i for token, i in tokenizer.get_vocab(with_added_tokens=True).items() if i >= vocab_size}
    if not beyond:
        return
    token, largest = max(beyond.items(), key=lambda item: item[1])
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    needed = set(tokenizer.encode("").ids) & set(beyond.values())
    if needed or not beyond.keys() <= added:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {largest}, the embedding table has {vocab_size} rows; "
            f"{len(beyond)} tokens lie beyond it, such as {token!r}. Take both from the same checkpoint."
        )
    log.warning(
        "%r (id %d)%s has no row in the embedding table of %d rows; encode refuses a text that holds it",
        token,
        largest,
        f" and {len(beyond) - 1} more added tokens, each," if len(beyond) > 1 else "",
        vocab_size,
    )
