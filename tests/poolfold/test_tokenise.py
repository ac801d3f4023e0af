import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from poolfold.errors import InputError
from poolfold.tokenise import Tokenizer, pad
from tests.artifacts import CLS, MAX_SEQ_LENGTH, SEP, WORDS, text_values, tokenizer_json

ONE = WORDS.index("w1")
SENTENCES = st.lists(st.sampled_from([*WORDS[6:], "unseen", "é", "😀"]), max_size=30).map(" ".join)


def make(**changes: object) -> Tokenizer:
    return Tokenizer(tokenizer_json(), text_values(**changes), len(WORDS))


def test_special_tokens_are_added_and_nothing_is_padded():
    # The tokenizer.json under test pads to 128 and truncates to 3 on its own.
    assert make().ids(["w1 w2", "", "w1 w1 w1 w1"]) == [[CLS, ONE, ONE + 1, SEP], [CLS, SEP], [CLS, *[ONE] * 4, SEP]]


def test_no_text_gives_no_row():
    assert make().ids([]) == []


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(SENTENCES, max_size=8), side=st.sampled_from(["left", "right"]), limit=st.integers(2, MAX_SEQ_LENGTH)
)
def test_ids_are_those_of_transformers(texts: list[str], side: str, limit: int):
    oracle = PreTrainedTokenizerFast(
        tokenizer_object=RawTokenizer.from_str(tokenizer_json()), truncation_side=side, unk_token="[UNK]"
    )
    expected = [oracle(text, truncation=True, max_length=limit)["input_ids"] for text in texts]
    assert make(truncation_side=side, max_seq_length=limit).ids(texts) == expected


def test_truncation_keeps_the_other_side():
    text = " ".join(WORDS[6:])
    assert make(max_seq_length=4).ids([text]) == [[CLS, 6, 7, SEP]]
    assert make(max_seq_length=4, truncation_side="left").ids([text]) == [[CLS, 30, 31, SEP]]


def test_many_texts_keep_their_order():
    texts = [f"w{index % 26}" for index in range(2500)]
    assert make().ids(texts) == [[CLS, 6 + index % 26, SEP] for index in range(2500)]


def test_the_prompt_is_put_before_the_text():
    # By concatenation, so that a prompt without a space joins the first word.
    assert make().ids(["2 w3"], prompt="w1 w") == make().ids(["w1 w2 w3"])


def test_an_id_outside_the_table_names_the_text():
    tokenizer = Tokenizer(tokenizer_json(), text_values(), len(WORDS) - 1)
    assert tokenizer.ids(["w24"]) == [[CLS, len(WORDS) - 2, SEP]]
    with pytest.raises(
        InputError, match=r"text 2 \('w25'\) holds the token 'w25', whose id 31 has no row .* of 31 rows"
    ):
        tokenizer.ids(["w1", "w24", "w25"])


@pytest.mark.parametrize("text", ["\ud800", "w1 \udcff w2", "\ude00\ud83d"])
def test_a_lone_surrogate_names_the_text(text: str):
    with pytest.raises(InputError, match="text 1 holds a lone surrogate"):
        make().ids(["w1", text, "w2"])
    with pytest.raises(InputError, match="text 1500 holds a lone surrogate"):
        make().ids(["w1"] * 1500 + [text])


def test_a_text_that_the_tokeniser_refuses_is_named():
    raw = RawTokenizer(WordLevel({"known": 0}, unk_token="[UNK]"))
    raw.pre_tokenizer = WhitespaceSplit()
    tokenizer = Tokenizer(raw.to_str(), text_values(), 1)
    assert tokenizer.ids(["known", ""]) == [[0], []]
    with pytest.raises(InputError, match=r"refuses text 1 \('strange'\)"):
        tokenizer.ids(["known", "strange"])


@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_a_limit_below_the_special_tokens_is_refused(limit: int):
    with pytest.raises(InputError, match=f"max_seq_length is {limit}, and the tokeniser adds 2"):
        make(max_seq_length=limit)


@pytest.mark.parametrize("pad_token_id", [-1, len(WORDS)])
def test_a_padding_id_outside_the_table_is_refused(pad_token_id: int):
    with pytest.raises(InputError, match=f"pad_token_id is {pad_token_id}"):
        make(pad_token_id=pad_token_id)


@pytest.mark.parametrize("name", ["padding_side", "truncation_side"])
def test_an_unknown_side_is_refused(name: str):
    with pytest.raises(InputError, match=f"{name} is 'middle'"):
        make(**{name: "middle"})


@pytest.mark.parametrize("content", ["", "{}", '{"model": 7}'])
def test_a_broken_tokenizer_json_is_refused(content: str):
    with pytest.raises(InputError, match=r"tokenizer\.json cannot be read"):
        Tokenizer(content, text_values(), len(WORDS))


def test_padding_sides_and_length():
    ids, mask = pad([[5, 6], [7]], "right", 9)
    assert (ids.tolist(), mask.tolist()) == ([[5, 6], [7, 9]], [[1, 1], [1, 0]])
    ids, mask = pad([[5, 6], [7]], "left", 9, length=3)
    assert (ids.tolist(), mask.tolist()) == ([[9, 5, 6], [9, 9, 7]], [[0, 1, 1], [0, 0, 1]])


@pytest.mark.parametrize(("side", "mask"), [("right", [[2, 1, 1], [2, 2, 0]]), ("left", [[2, 1, 1], [0, 2, 2]])])
def test_tokens_that_the_pooling_leaves_out(side: str, mask: list[list[int]]):
    assert pad([[5, 6, 7], [8, 9]], side, 0, left_out=[1, 2])[1].tolist() == mask


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("", 0), ("w1", 2), ("w1 w2 ", 3), ("w1 [SEP]", 3), (" ", 1), ("w1 " * (MAX_SEQ_LENGTH - 3), MAX_SEQ_LENGTH - 2)],
)
def test_how_many_tokens_are_the_prompts(prompt: str, tokens: int):
    # With [CLS] in front, and without the [SEP] that the tokeniser puts behind.
    assert make(include_prompt=False).left_out(prompt) == tokens
    assert make().left_out(prompt) == 0


def test_a_prompt_as_long_as_the_limit_is_refused():
    with pytest.raises(InputError, match=r"takes all 16 tokens.*nothing of a text would be left"):
        make(include_prompt=False).left_out("w1 " * (MAX_SEQ_LENGTH - 2))


@given(
    rows=st.lists(st.lists(st.integers(0, 99), max_size=9), max_size=6),
    side=st.sampled_from(["left", "right"]),
    length=st.none() | st.integers(0, 12),
)
def test_the_mask_gives_the_rows_back(rows: list[list[int]], side: str, length: int | None):
    ids, mask = pad(rows, side, 1000, length)
    longest = max(map(len, rows), default=0)
    assert ids.shape == mask.shape == (len(rows), max(longest, length or 0))
    assert ids.dtype == mask.dtype == np.int64
    assert [row[marked == 1].tolist() for row, marked in zip(ids, mask, strict=True)] == rows
    assert (ids[mask == 0] == 1000).all()
    for marked in mask:
        step = np.diff(marked)
        assert (step >= 0).all() if side == "left" else (step <= 0).all()
