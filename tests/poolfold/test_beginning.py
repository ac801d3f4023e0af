"""A long text is not tokenised whole, and its ids are those of the whole text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from poolfold.tokenise import AS_EXPORTED, tokenizer
from poolfold.tokenise import Tokenizer as OurTokenizer
from poolfold.tokenise.beginning import beginning, may_cut
from tests.artifacts import text_values

LIMIT = 8
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
WORDS = (
    "abc",
    "we're",
    "'S",
    "12345",
    "naïve",
    "e\u0301e",
    "日本",
    "ﬁ",
    "\u200d",
    "<s>",
    "x\n\ny",
    "...",
    "A",
    "▁",
    "é\t",
)
GAPS = (" ", " ", " ", "  ", "\n", "")
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=200).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)
MODELS = {
    "wordpiece": lambda: models.WordPiece(unk_token="<unk>"),
    "bpe": models.BPE,
    "unigram": models.Unigram,
}


def trained(model: str, normalizer: Any = None, pre_tokenizer: Any = None) -> str:
    """tokenizer.json of a tokeniser trained on WORDS, with <s> before and after each text."""
    made = Tokenizer(MODELS[model]())
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    special = ["<s>", "<unk>"]
    trainer = {
        "wordpiece": trainers.WordPieceTrainer(vocab_size=300, special_tokens=special),
        "bpe": trainers.BpeTrainer(
            vocab_size=500, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
        "unigram": trainers.UnigramTrainer(vocab_size=100, special_tokens=special, unk_token="<unk>"),
    }[model]
    made.train_from_iterator([" ".join(WORDS), "abc abc we're naïve 12345 A A"] * 5, trainer)
    made.post_processor = TemplateProcessing(single="<s> $A <s>", special_tokens=[("<s>", 0)])
    return made.to_str()


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
NFKC = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
ONE_PIECE = pre_tokenizers.Metaspace(split=False)
SPACES, NOTHING_TO_SPLIT = pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(" ", "merged_with_previous")


def steps(*parts: Any) -> Any:
    return pre_tokenizers.Sequence(list(parts))


CUT = {
    "BERT": trained("wordpiece", normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()),
    "XLM-R": trained("unigram", NFKC, pre_tokenizers.Metaspace()),
    "T5": trained("unigram", normalizers.Strip(), steps(SPACES, pre_tokenizers.Metaspace())),
    "GPT-2": trained("bpe", normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "Qwen2": trained("bpe", normalizers.NFC(), steps(pre_tokenizers.Split(Regex(QWEN2), "isolated"), BYTES)),
    "Llama 3": trained("bpe", None, steps(pre_tokenizers.Split(Regex(LLAMA3), "isolated"), BYTES)),
}
WHOLE = {
    "Llama 2": trained("bpe", normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])),
    "Gemma": trained("bpe", normalizers.Replace(" ", "▁"), NOTHING_TO_SPLIT),
    "one piece": trained("unigram", None, ONE_PIECE),
    "spaces gone before the split": trained("unigram", None, steps(ONE_PIECE, SPACES)),
    "spaces gone in the normalizer": trained("wordpiece", normalizers.Replace(" ", "_"), SPACES),
    "a pattern over spaces": trained("wordpiece", normalizers.Replace("c a", "d"), SPACES),
    "an unknown pattern": trained("bpe", None, pre_tokenizers.Split(Regex(r"\w+ \w+"), "isolated")),
    "spaces kept with the word before": trained("wordpiece", None, NOTHING_TO_SPLIT),
    "no pre-tokenizer": trained("unigram"),
}


def ours(tokenizer_json: str, *, cut: bool | None = None, **changes: Any) -> OurTokenizer:
    made = OurTokenizer(tokenizer_json, text_values(max_seq_length=LIMIT, **changes), 10_000)
    if cut is not None:
        usual = made._readers[AS_EXPORTED]
        made._readers[AS_EXPORTED] = usual._replace(beginnings=cut and usual.beginnings)
    return made


@pytest.mark.parametrize("name", CUT)
def test_the_ids_are_those_of_the_whole_text(name: str) -> None:
    assert may_cut(CUT[name])
    cut, whole = ours(CUT[name]), ours(CUT[name], cut=False)

    @settings(max_examples=150, deadline=None)
    @given(texts=st.lists(TEXTS, max_size=3), prompt=st.sampled_from(["", "abc: "]))
    def check(texts: list[str], prompt: str) -> None:
        assert cut.ids(texts, prompt) == whole.ids(texts, prompt)

    check()


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_not_provable_is_tokenised_whole(name: str) -> None:
    assert not may_cut(WHOLE[name])


def test_a_cut_anywhere_would_give_other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    # So the property above can fail.
    text = "abc abc abc abc abc 12345 abc abc"
    whole = ours(CUT["BERT"]).ids([text])
    monkeypatch.setattr(tokenizer, "_CHARACTERS", 3)
    assert ours(CUT["BERT"]).ids([text]) == whole
    monkeypatch.setattr(tokenizer, "beginning", lambda text, length: text[:length])
    assert ours(CUT["BERT"]).ids([text]) != whole


@pytest.mark.parametrize("content", ["<a b>", "▁▁", "\n\n"])
def test_an_added_token_may_span_the_cut(content: str) -> None:
    made = Tokenizer.from_str(CUT["BERT"])
    made.add_tokens([content])
    assert not may_cut(made.to_str())


def test_dropout_is_not_provable() -> None:
    file = json.loads(CUT["GPT-2"])
    file["model"]["dropout"] = 0.1
    assert not may_cut(json.dumps(file))


def test_what_is_kept_on_the_right_is_tokenised_whole() -> None:
    made = ours(CUT["BERT"], truncation_side="left")
    assert not made._readers[AS_EXPORTED].beginnings
    assert made.ids(["abc " * 500 + "A"]) == ours(CUT["BERT"], truncation_side="left", cut=False).ids(
        ["abc " * 500 + "A"]
    )


def test_only_the_beginning_is_tokenised(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = ours(CUT["BERT"]), []
    encode = made._encode

    def note(reader: Any, texts: list[str], start: int) -> Any:
        seen.extend(map(len, texts))
        return encode(reader, texts, start)

    monkeypatch.setattr(made, "_encode", note)
    made.ids(["abc " * 1_000_000, "A", " " * 5000 + "abc " * 5000])
    assert max(seen) < 10_000
    assert seen[:2] == [LIMIT * 16 + 3, 1], "and a short text is taken as it is"


@given(text=TEXTS, length=st.integers(1, 50))
def test_a_cut_lies_at_a_space_between_letters(text: str, length: int) -> None:
    cut = beginning(text, length)
    rest = text[len(cut) :]
    assert text.startswith(cut)
    assert not rest or (
        len(cut) >= length and cut[-1].isascii() and cut[-1].isalpha() and rest[0] == " " and rest[1].isalpha()
    )
