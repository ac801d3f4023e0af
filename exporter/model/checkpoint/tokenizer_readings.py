"""Two readings of one tokenizer, held against each other: tokenizer.json as published, and the installed transformers'.

A wrong id passes every later check, since the reference and the artifact share it; so neither is taken on its word.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer

from exporter.model.checkpoint.library_tokenizer import library_rows, read_library
from exporter.model.checkpoint.published_tokenizer import TokenizerConfig, honour_flags, read_published
from exporter.model.checkpoint.tokenizer_class import ENDS
from exporter.model.checkpoint.tokenizer_texts import texts_for
from exporter.spec.origin import TokenizerSource
from poolfold.errors import CheckpointError, first_line
from poolfold.manifest import TokenizerExample, TokenizerReading
from poolfold.tokenise import shorten

log = logging.getLogger(__name__)

_SHOWN = 12
"""Ids of a row in a message."""

Rows = Sequence[list[int] | None]
"""Ids of each text; None for a text that the tokenizer fails on."""


@dataclass(frozen=True)
class Readings:
    """Both readings; the tokenizers are the caller's to change from here on.

    file: tokenizer.json with the flags that its class honoured; None where there is no such file.
    library: transformers' tokenizer; None where it has none.
    padding: what the file says of it, if anything; the tokenizers themselves neither pad nor cut.
    texts: what they were compared on.
    file_rows, library_rows: the ids of `texts`; None where the reading is missing.
    source: whose ids count.
    """

    folder: Path
    config: TokenizerConfig
    file: Tokenizer | None
    library: Any
    padding: Mapping[str, Any] | None
    texts: tuple[str, ...]
    file_rows: Rows | None
    library_rows: Rows | None
    source: TokenizerSource

    @property
    def tokenizer(self) -> Tokenizer:
        """What gives the ids that count.

        Raises:
            CheckpointError: only Python can run it.
        """
        if self.source is TokenizerSource.FILE and self.file is not None:
            return self.file
        if not self.library.is_fast:
            raise CheckpointError(
                f"{self.folder} has a tokenizer that only Python can run ({type(self.library).__name__}). "
                "Convert it to tokenizer.json, which the tokenizers library runs everywhere."
            )
        backend: Tokenizer = self.library.backend_tokenizer
        return backend

    def rows(self, limit: int, truncation_side: str) -> Rows:
        """Ids of `texts` by the reading that counts, cut to `limit` tokens."""
        if self.source is TokenizerSource.TRANSFORMERS:
            return library_rows(self.library, self.texts, limit)
        cut = Tokenizer.from_str(self.tokenizer.to_str())
        cut.enable_truncation(limit, direction=truncation_side)
        return tokenizer_rows(cut, self.texts)

    @property
    def record(self) -> TokenizerReading:
        """What the manifest tells about them."""
        if self.file_rows is None or self.library_rows is None:
            return TokenizerReading(source=str(self.source), texts=0, differ=0, example=None)
        pairs = zip(self.texts, self.file_rows, self.library_rows, strict=True)
        differ = [(text, file, library) for text, file, library in pairs if file != library]
        example = None
        if differ:
            text, file, library = differ[0]  # ordinary sentences come first
            example = TokenizerExample(text=text, file=tuple(file or ()), transformers=tuple(library or ()))
        return TokenizerReading(source=str(self.source), texts=len(self.texts), differ=len(differ), example=example)


def read_both(
    folder: Path, config: TokenizerConfig, vocab_size: int, source: TokenizerSource, *, trust_remote_code: bool
) -> Readings:
    """Read a tokenizer both ways, compare the ids, and warn where they differ.

    Args:
        folder: where its files lie.
        config: what stands beside tokenizer.json.
        vocab_size: rows of the embedding table.
        source: whose ids to take where there is a tokenizer.json.
        trust_remote_code: run the tokenizer code of the checkpoint, as transformers does.

    Raises:
        CheckpointError: neither reading exists, or there is no tokenizer.json to tell which of two is right.
    """
    file = read_published(folder, config, vocab_size)
    try:
        library = read_library(folder, trust_remote_code=trust_remote_code)
    except CheckpointError as error:
        if file is None or source is TokenizerSource.TRANSFORMERS:
            raise
        log.warning("transformers cannot read this tokenizer; tokenizer.json is taken alone: %s", first_line(error))
        library = None
    if file is None:
        source = TokenizerSource.TRANSFORMERS
    backends = [t for t in (file, library.backend_tokenizer if library and library.is_fast else None) if t is not None]
    texts = texts_for({token.content for t in backends for token in t.get_added_tokens_decoder().values()})
    padding = backends[0].padding if backends else None
    for backend in backends:
        backend.no_truncation()
        backend.no_padding()
    readings = Readings(
        folder=folder,
        config=config,
        file=file,
        library=library,
        padding=padding,
        texts=texts,
        file_rows=None if file is None else tokenizer_rows(file, texts),
        library_rows=None if library is None else library_rows(library, texts),
        source=source,
    )
    if file is None and library.is_fast:
        _refuse_ignored_flags(readings, vocab_size)
    _warn(readings.record)
    return readings


def tokenizer_rows(tokenizer: Tokenizer, texts: Sequence[str]) -> Rows:
    """Ids of each text by `tokenizers` alone."""
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    except Exception:  # one text is enough; tokenizers raises nothing narrower
        return [_one(tokenizer, text) for text in texts]


def _one(tokenizer: Tokenizer, text: str) -> list[int] | None:
    try:
        ids: list[int] = tokenizer.encode(text).ids
    except Exception:  # as above
        return None
    return ids


def _refuse_ignored_flags(readings: Readings, vocab_size: int) -> None:
    """Without a tokenizer.json, refuse flags that transformers 4 honoured and this transformers does not."""
    flagged = Tokenizer.from_str(readings.library.backend_tokenizer.to_str())
    flagged.no_truncation()
    flagged.no_padding()
    honour_flags(flagged, readings.config, vocab_size, readings.folder)
    assert readings.library_rows is not None
    for text, want, got in zip(
        readings.texts, tokenizer_rows(flagged, readings.texts), readings.library_rows, strict=True
    ):
        if want != got:
            raise CheckpointError(
                f"{readings.folder} has no tokenizer.json, and its tokenizer_config.json can be read in two ways: "
                f"{shorten(text)} is {_row(want)} with the flags of {readings.config.tokenizer_class}, and {_row(got)} "
                f"by transformers {transformers.__version__}. Save a tokenizer.json that gives the right one."
            )


def check_end(readings: Readings, vocab_size: int) -> None:
    """Check that a text ends in its EOS where `add_eos_token` asks for it; for models that pool the last token.

    Raises:
        CheckpointError: no reading adds it.
    """
    config = readings.config
    if not config.flag("add_eos_token"):
        return
    ends = ENDS.get(config.tokenizer_class)
    eos = config.role("eos_token") or (None if readings.library is None else readings.library.eos_token)
    eos = eos or (None if ends is None else ends.eos)
    number = None if eos is None else readings.tokenizer.token_to_id(eos)
    last = {rows[0][-1:] == [number] for rows in (readings.file_rows, readings.library_rows) if rows and rows[0]}
    if number is None or number >= vocab_size or True not in last:
        raise CheckpointError(
            f"{readings.folder} pools the last token, and tokenizer_config.json asks for add_eos_token: neither "
            f"tokenizer.json nor transformers {transformers.__version__} puts {eos!r} behind a text. Add it to the "
            "post_processor of tokenizer.json, or set add_eos_token to false if the model was trained without it."
        )


def _warn(record: TokenizerReading) -> None:
    if record.example is None:
        return
    taken = {
        "file": "The artifact and its reference follow the file; --tokenizer transformers follows the library.",
        "transformers": "The artifact and its reference follow the library; --tokenizer file follows the file.",
    }
    log.warning(
        "tokenizer.json as published and transformers %s give %d of %d texts different ids: %s is %s by the file and "
        "%s by transformers. %s",
        transformers.__version__,
        record.differ,
        record.texts,
        shorten(record.example.text),
        _row(record.example.file),
        _row(record.example.transformers),
        taken[record.source],
    )


def _row(ids: Sequence[int] | None) -> str:
    if ids is None:
        return "refused"
    return f"[{', '.join(map(str, ids[:_SHOWN]))}{', ...' if len(ids) > _SHOWN else ''}]"
