"""tokenizer.json as its author meant it: the file, and those settings beside it that its class honoured.

Up to transformers 4.57 a tokenizer was its tokenizer.json, changed by what tokenizer_config.json stated outright;
`tokenizer_class` lists which class read what. What a class had by default alone is left out: where it changes ids, the
file is what was published. Run through `tokenizers`; transformers is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors

from exporter.model.checkpoint.json_object import read_optional_object
from exporter.model.checkpoint.tokenizer_class import (
    ENDS,
    NORMALIZER_FLAGS,
    PREFIX_SPACE_INSIDE,
    SPLITS_IN_PYTHON,
    class_name,
)
from poolfold.errors import CheckpointError

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MORE = ("additional_special_tokens", "extra_special_tokens")


@dataclass(frozen=True)
class TokenizerConfig:
    """What stands beside tokenizer.json.

    fields: tokenizer_config.json; roles of special_tokens_map.json over it where transformers 4 read that file.
    added: tokens of added_tokens.json -> id; empty where transformers 4 did not read it.
    tokenizer_class: the class by the name that transformers 4 took, without `Fast`.
    pad_token_id: config.json's; None where it has none.
    """

    fields: Mapping[str, Any]
    added: Mapping[str, Any]
    tokenizer_class: str
    pad_token_id: int | None

    def role(self, name: str) -> str | None:
        """The token of a role, such as `eos_token`; None where none is named."""
        return _content(self.fields.get(name))

    def flag(self, name: str) -> bool:
        """Whether a flag is set to true."""
        return bool(self.fields.get(name))


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """Read the files beside tokenizer.json, each of which may be missing.

    Raises:
        CheckpointError: one of them is no JSON object.
    """
    fields = read_optional_object(folder / "tokenizer_config.json")
    config = read_optional_object(folder / "config.json")
    added: dict[str, Any] = {}
    name = class_name(fields, config)
    if "added_tokens_decoder" not in fields:
        fields = {**fields, **read_optional_object(folder / "special_tokens_map.json")}
        added = read_optional_object(folder / "added_tokens.json")
    pad = config.get("pad_token_id")
    return TokenizerConfig(fields, added, name, pad if isinstance(pad, int) else None)


def read_published(folder: Path, config: TokenizerConfig, vocab_size: int) -> Tokenizer | None:
    """Read tokenizer.json, its truncation left as it is; None where there is no such file.

    Args:
        folder: where it lies.
        config: what stands beside it.
        vocab_size: rows of the embedding table.

    Raises:
        CheckpointError: the file is broken, or what is asked of it cannot be.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: {error}. Expected tokenizer.json beside config.json."
        ) from error
    if tokenizer.get_vocab_size(with_added_tokens=True) == 0:
        raise CheckpointError(f"{folder} has no vocabulary: tokenizer.json lists no token. Restore the file.")
    if config.tokenizer_class in SPLITS_IN_PYTHON:
        raise CheckpointError(
            f"{folder} has a tokenizer that only Python can run: {config.tokenizer_class} splits text by a library of "
            "its own, which tokenizer.json does not have. Train or convert another tokenizer for it."
        )
    try:
        _add_tokens(tokenizer, config, vocab_size)
        honour_flags(tokenizer, config, vocab_size, folder)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: the settings beside tokenizer.json cannot be read: {error}. Restore tokenizer_config.json, "
            "special_tokens_map.json and added_tokens.json."
        ) from error
    return tokenizer


def honour_flags(tokenizer: Tokenizer, config: TokenizerConfig, vocab_size: int, folder: Path) -> None:
    """Change a tokenizer as its class did for the flags of tokenizer_config.json.

    Args:
        tokenizer: changed in place.
        config: the flags, and the class.
        vocab_size: rows of the embedding table.
        folder: the checkpoint, for messages.

    Raises:
        CheckpointError: a flag that tokenizer.json cannot express, or one that asks for a token that is not there.
    """
    if config.flag("split_special_tokens"):
        raise CheckpointError(
            f"{folder}: tokenizer_config.json sets split_special_tokens, which tokenizer.json cannot express. "
            "Remove it, or remove the special tokens from added_tokens in tokenizer.json."
        )
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        for flag, key in NORMALIZER_FLAGS.get(config.tokenizer_class, {}).items():
            if flag in config.fields:
                setattr(normalizer, key, config.fields[flag])
    if config.fields.get("add_prefix_space") is not None:
        for step in _byte_level_steps(tokenizer.pre_tokenizer, config):
            step.add_prefix_space = config.flag("add_prefix_space")
    if config.tokenizer_class in ENDS and config.fields.keys() & {"add_bos_token", "add_eos_token"}:
        _set_ends(tokenizer, config, vocab_size, folder)


def _byte_level_steps(pre_tokenizer: Any, config: TokenizerConfig) -> list[Any]:
    if isinstance(pre_tokenizer, pre_tokenizers.ByteLevel):
        return [pre_tokenizer]
    inside = config.tokenizer_class in PREFIX_SPACE_INSIDE and config.flag("add_prefix_space")
    if inside and isinstance(pre_tokenizer, pre_tokenizers.Sequence):
        steps: list[Any] = list(pre_tokenizer)  # type: ignore[call-overload]  # it has __getitem__ alone
        return [step for step in steps if isinstance(step, pre_tokenizers.ByteLevel)]
    return []


def _set_ends(tokenizer: Tokenizer, config: TokenizerConfig, vocab_size: int, folder: Path) -> None:
    """Put the post-processor together as `update_post_processor` did."""
    ends = ENDS[config.tokenizer_class]
    pieces: dict[str, tuple[str, int]] = {}
    for name, default, token in (("bos", ends.add_bos, ends.bos), ("eos", ends.add_eos, ends.eos)):
        flag, role = f"add_{name}_token", f"{name}_token"
        if not config.fields.get(flag, default):
            continue
        content = _content(config.fields.get(role, token))
        number = None if content is None else tokenizer.token_to_id(content)
        if content is None or number is None or number >= vocab_size:
            lacks = "no row for it in the embedding table" if number is not None else "no such token"
            raise CheckpointError(
                f"{folder}: tokenizer_config.json asks for {flag} with {role} {content!r}, and there is {lacks}. "
                f"Set {role} to the token that the model was trained with, or {flag} to false."
            )
        pieces[name] = (content, number)
    single = [f"{pieces[name][0]}:0" if name in pieces else "" for name in ("bos", "eos")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[piece for piece in (single[0], "$A:0", single[1]) if piece],
        pair=[piece for piece in (single[0], "$A:0", single[1], "$B:1") if piece],
        special_tokens=list(dict.fromkeys(pieces.values())),
    )


def _add_tokens(tokenizer: Tokenizer, config: TokenizerConfig, vocab_size: int) -> None:
    """Add the tokens that are named beside tokenizer.json but not in it, as loading a fast tokenizer did.

    A role's token that neither the file nor the embedding table has is left out: no model could have been run on it.
    """
    present = {repr(token) for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_tokens([token for token in _declared(config) if repr(token) not in present])
    names = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    for token in _special(config):
        fits = tokenizer.token_to_id(token.content) is not None
        if token.content not in names and (fits or tokenizer.get_vocab_size() < vocab_size):
            tokenizer.add_tokens([token])
            names.add(token.content)


def _declared(config: TokenizerConfig) -> Iterator[AddedToken]:
    decoder = config.fields.get("added_tokens_decoder") or {}
    for _, token in sorted(decoder.items(), key=lambda item: int(item[0])):
        yield AddedToken(**{key: value for key, value in token.items() if key != "__type"})


def _special(config: TokenizerConfig) -> Iterator[AddedToken]:
    """Tokens with a role, then those of added_tokens.json."""
    more = [item for name in _MORE for item in _listed(config.fields.get(name))]
    special = [*(config.fields.get(name) for name in _ROLES), *more]
    contents = [content for content in map(_content, special) if content]
    yield from (AddedToken(content, special=True) for content in contents)
    for content, _ in sorted(config.added.items(), key=lambda item: int(item[1])):
        if content not in contents:
            yield AddedToken(content)


def _listed(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value or [])


def _content(token: Any) -> str | None:
    """The text of a token that is written as a string or as an object."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) and content else None
