"""Tiny tokenizer.json files of the kinds that checkpoints have, and folders that name a class beside one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

LINES = [
    "hello world", "Hello, WORLD!", "Grüße aus Köln", "naïve café", "日本語のテキスト", "Привет мир", "1234 apples",
    "tabs\tand  spaces", "don't stop", "a",
]  # fmt: skip
STRINGS = (
    *LINES, "", " ", "  two  spaces ", "a\nb", "\t", "e\u0301", "\u00e9", "Straße STRASSE", "שלום", "مرحبا", "नमस्ते",
    "안녕", "𝒜ﬁ", "\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd", "a\u200bb", "a\xa0b", "a\0b", "\ufeffa", "1,234.5",
    "it's <s> odd </s>", "<pad>", "[CLS] a [SEP]", "an<mask>b", "<|endoftext|>", "▁ ▁a", "Ġ", "##ing", "x" * 120,
    "中" * 40, "word " * 30,
)  # fmt: skip
"""40, as users write them."""

ANGLES = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
BRACKETS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_QWEN = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"


def roles(special: tuple[str, ...]) -> dict[str, str]:
    """The roles of such tokens, as tokenizer_config.json names them."""
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    pairs = dict(zip(names, special, strict=True))
    return pairs | {"bos_token": pairs["cls_token"], "eos_token": pairs["sep_token"]}


def make(kind: str) -> tuple[Tokenizer, tuple[str, ...]]:
    """A trained tokenizer of a kind, and its special tokens."""
    special = BRACKETS if kind.startswith("wordpiece") else ANGLES
    start, end = special[2:4]
    template = f"{start} $A {end}"
    match kind:
        case "byte-level":
            t = _byte_level()
        case "byte-level-qwen":
            t = _byte_level()
            t.normalizer = normalizers.NFC()
            split = pre_tokenizers.Split(Regex(_QWEN), "isolated")
            t.pre_tokenizer = pre_tokenizers.Sequence(
                [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
            )
            template = f"$A {end}"
        case "unigram":
            t = Tokenizer(models.Unigram())
            t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        case "unigram-normalized":
            t = Tokenizer(models.Unigram())
            t.normalizer = normalizers.Sequence(
                [normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents()]
            )
            t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        case "wordpiece":
            t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
            t.normalizer = normalizers.BertNormalizer()
            t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        case "wordpiece-own":
            t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
            t.normalizer = normalizers.NFKC()
            t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
            template = f"{start} {start} $A {end}"
        case "byte-fallback":
            t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
            t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
            template = f"{start} $A"
        case "metaspace-bare":
            t = Tokenizer(models.BPE(unk_token="<unk>"))
            t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
            template = "$A"
    more = [f"<0x{byte:02X}>" for byte in range(256)] if kind == "byte-fallback" else []
    _train(t, [*special, *more], unk=special[1])
    if more:  # bytes are ordinary pieces
        fields = json.loads(t.to_str())
        fields["added_tokens"] = [token for token in fields["added_tokens"] if token["content"] in special]
        t = Tokenizer.from_str(json.dumps(fields))
    used = [(piece, t.token_to_id(piece)) for piece in special if piece in template]
    t.post_processor = processors.TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=used)
    return t, special


KINDS = (
    "byte-level", "byte-level-qwen", "unigram", "unigram-normalized", "wordpiece", "wordpiece-own", "byte-fallback",
    "metaspace-bare",
)  # fmt: skip


def _byte_level() -> Tokenizer:
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return t


def _train(t: Tokenizer, special: list[str], unk: str) -> None:
    trainer: trainers.Trainer
    match t.model:
        case models.Unigram():
            trainer = trainers.UnigramTrainer(
                vocab_size=300, special_tokens=special, unk_token=unk, show_progress=False
            )
        case models.WordPiece():
            trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
        case _:
            alphabet = pre_tokenizers.ByteLevel.alphabet() if t.pre_tokenizer is not None else []
            trainer = trainers.BpeTrainer(
                vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
            )
    t.train_from_iterator(LINES * 4, trainer)


def folder_of(folder: Path, tokenizer: Tokenizer, settings: Mapping[str, Any], model_type: str = "bert") -> Path:
    """A checkpoint's files as far as a tokenizer reads them; a setting of None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {name: value for name, value in settings.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "pad_token_id": 0}))
    return folder
