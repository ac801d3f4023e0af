"""The corpus is what it claims to be; its batches and variants hold the rows that they should."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from exporter.parity import variants
from exporter.parity.corpus import corpus
from exporter.parity.tokens import Tokens, sorted_batches, tokenise
from poolfold.manifest import Text
from poolfold.tokenise import Tokenizer

SCRIPTS = (
    "LATIN", "GREEK", "CYRILLIC", "GEORGIAN", "ARMENIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "TAMIL",
    "TELUGU", "THAI", "KHMER", "MYANMAR", "ETHIOPIC", "TIBETAN", "CHEROKEE", "CJK", "HIRAGANA", "HALFWIDTH",
    "HANGUL",
)  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_corpus_holds_every_script(script):
    text = "".join(corpus(8))
    assert any(unicodedata.name(c, "").startswith(script + " ") for c in text)


def test_the_corpus_holds_what_tokenisers_stumble_over():
    texts = corpus(8)
    assert 64 <= len(texts) <= 96
    assert len(set(texts)) == len(texts)
    assert "" in texts
    assert any(text and not text.strip() for text in texts)
    assert any(len(text) == 1 for text in texts)
    assert any("🚢" in text for text in texts)
    assert any("\u200b" in text for text in texts)
    assert any("\x00" in text for text in texts)
    assert any("\u202e" in text for text in texts)
    assert any(text.startswith("https://") for text in texts)
    assert any(len(words := text.split()) > 20 and len(set(words)) == 1 for text in texts)
    bidirectional = {"L", "R"}
    assert any(bidirectional <= {unicodedata.bidirectional(c) for c in text} for text in texts)
    for text in texts:
        text.encode()


@given(st.integers(1, 2000))
def test_the_last_text_is_longer_than_any_limit(limit):
    assert len(corpus(limit)[-1].split()) > limit


def make_tokens(lengths: list[int], side: str = "right", limit: int = 64) -> Tokens:
    rows = tuple(tuple(range(1, n + 1)) for n in lengths)
    return Tokens(tuple(f"text {i}" for i in range(len(rows))), rows, (0,) * len(rows), 0, side, limit, 100)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=200), st.sampled_from(["left", "right"]))
def test_sorted_batches_hold_every_row_once_unchanged_with_little_padding(lengths, side):
    tokens = make_tokens(lengths, side)
    batches = sorted_batches(tokens)
    assert Counter(row for batch in batches for row in batch.rows) == Counter(range(len(lengths)))
    for batch in batches:
        assert len(batch.rows) <= 32
        assert batch.input_ids.size <= 1.25 * batch.attention_mask.sum() + 32
        for ids, mask, row in zip(*batch, strict=True):
            assert tuple(ids[mask > 0]) == tokens.rows[row]
            assert mask[0 if side == "right" else -1] == 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_variants_hold_the_shortest_row_a_long_one_and_padding_up_to_the_limit(side):
    lengths = [2, *range(5, 40), 64]
    tokens = make_tokens(lengths, side)
    for make in (variants.alone, variants.padded, variants.reordered, variants.other_side):
        batches = make(tokens)
        rows = {row for batch in batches for row in batch.rows}
        assert 0 in rows
        assert max(len(tokens.rows[row]) for row in rows) > 30
        for batch in batches:
            for ids, mask, row in zip(*batch, strict=True):
                assert tuple(ids[mask > 0]) == tokens.rows[row]
    assert all(batch.attention_mask.all() and len(batch.rows) == 1 for batch in variants.alone(tokens))
    assert {batch.input_ids.shape[1] for batch in variants.padded(tokens)} > {64}
    assert len({batch.input_ids.shape[1] for batch in variants.padded(tokens)}) == 3
    assert not any(batch.attention_mask.all(axis=1).any() for batch in variants.padded(tokens))
    first, second = variants.reordered(tokens)
    assert sorted(first.rows) == sorted(second.rows)
    assert list(first.rows) != list(second.rows)
    other = variants.other_side(tokens)
    assert [len(batch.rows) for batch in other] == [6, 6, 1]
    assert other[-1].input_ids.shape[1] == 64
    assert (64 - other[-1].attention_mask.sum()) % 2 == 1
    for batch in other:
        assert batch.attention_mask[:, -1 if side == "right" else 0].all()
        assert not batch.attention_mask[:, 0 if side == "right" else -1].any()


def test_the_choice_of_rows_is_the_same_every_time_and_bounded():
    tokens = make_tokens([int(n) for n in np.random.default_rng(0).integers(1, 64, 5000)])
    for make in (variants.alone, variants.padded, variants.reordered, variants.other_side):
        first, second = make(tokens), make(tokens)
        assert [batch.rows for batch in first] == [batch.rows for batch in second]
        assert sum(len(batch.rows) for batch in first) <= 24


def test_nothing_to_pad_is_an_empty_answer():
    assert variants.padded(make_tokens([64, 64])) == ()


def test_tokenise_keeps_texts_and_rows_together_and_leaves_out_what_gives_no_token():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "a": 1, "b": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    text = Text(
        max_seq_length=3,
        padding_side="left",
        truncation_side="right",
        pad_token_id=0,
        lower_case=False,
        prompts={},
        default_prompt_name=None,
    )
    tokens = tokenise(["a b", "", "b", "a a b b"], Tokenizer(tokenizer.to_str(), text, 4))
    assert tokens == Tokens(
        ("a b", "b", "a a b b"), ((1, 2), (2,), (1, 1, 2)), (0, 0, 0), 0, "left", 3, tokens.vocab_size
    )
