from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer

from exporter.model.checkpoint.tokenizer import read_tokenizer
from poolfold.errors import CheckpointError
from tests.architectures import POSITIONS
from tests.models import edit_json, plain_checkpoint

ROWS = 221


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return plain_checkpoint(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def folder(tmp_path):
    return plain_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def pair(shared):
    return Tokenizer.from_str(read_tokenizer(shared, vocab_size=ROWS).json), AutoTokenizer.from_pretrained(shared)


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=30))
def test_the_file_alone_gives_the_ids_of_transformers(pair, text):
    ours, theirs = pair
    assert ours.encode(text).ids == theirs(text)["input_ids"]


def test_the_numbers(folder):
    tokenizer = read_tokenizer(folder, vocab_size=ROWS)
    assert (tokenizer.pad_token_id, tokenizer.padding_side, tokenizer.truncation_side) == (0, "right", "right")
    assert tokenizer.limit == POSITIONS
    edit_json(folder / "tokenizer_config.json", padding_side="left", truncation_side="left", model_max_length=...)
    assert replace(tokenizer, padding_side="left", truncation_side="left", limit=None) == read_tokenizer(
        folder, vocab_size=ROWS
    )


def test_truncation_and_padding_are_left_to_the_runtime(folder):
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain = read_tokenizer(folder, vocab_size=ROWS)
    file.enable_truncation(4)
    file.enable_padding(length=9)
    file.save(str(folder / "tokenizer.json"))
    assert read_tokenizer(folder, vocab_size=ROWS) == plain
    fields = json.loads(plain.json)
    assert (fields["truncation"], fields["padding"]) == (None, None)


def test_lower_casing_is_put_in_front_once(folder):
    plain = read_tokenizer(folder, vocab_size=ROWS)
    lower = read_tokenizer(folder, vocab_size=ROWS, lower_case=True)
    ids = [Tokenizer.from_str(item.json).encode("The ÄX").ids for item in (plain, lower)]
    assert ids[0] != ids[1]
    assert ids[1] == Tokenizer.from_str(plain.json).encode("the äx").ids
    (folder / "tokenizer.json").write_text(lower.json, encoding="utf-8")
    assert read_tokenizer(folder, vocab_size=ROWS, lower_case=True) == lower


def test_a_vocabulary_file_is_enough(folder):
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    edit_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False)
    tokenizer = Tokenizer.from_str(read_tokenizer(folder, vocab_size=ROWS).json)
    assert tokenizer.encode("The text").ids == AutoTokenizer.from_pretrained(folder)("The text")["input_ids"]
    assert tokenizer.encode("the").tokens == ["[CLS]", "the", "[SEP]"]


@pytest.mark.parametrize("tokenizer_class", ["BertTokenizer", "PreTrainedTokenizerFast", ...])
def test_no_vocabulary_is_refused(folder, tokenizer_class):
    edit_json(folder / "tokenizer_config.json", tokenizer_class=tokenizer_class)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no (vocabulary|tokenizer that can be read)"):
        read_tokenizer(folder, vocab_size=ROWS)


@pytest.mark.parametrize("content", ["{", "{}", '{"model": 3}'])
def test_a_broken_file_is_refused(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match="has no tokenizer that can be read"):
        read_tokenizer(folder, vocab_size=ROWS)


def test_ids_beyond_the_embedding_table_are_refused(folder):
    assert read_tokenizer(folder, vocab_size=ROWS).json
    with pytest.raises(CheckpointError, match=r"ids up to 220, the embedding table has 220 rows; 1 tokens .* 'text'"):
        read_tokenizer(folder, vocab_size=ROWS - 1)


def test_an_added_token_beyond_the_table_is_left_to_the_texts_that_hold_it(folder, caplog):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(["[NEW]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert Tokenizer.from_str(read_tokenizer(folder, vocab_size=ROWS).json).encode("[NEW]").ids == [2, 221, 3]
    assert [record.message for record in caplog.records] == [
        "'[NEW]' (id 221) has no row in the embedding table of 221 rows; encode refuses a text that holds it"
    ]
    # Every text ends in it: the tokenizer is another model's.
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [NEW]", special_tokens=[("[NEW]", 221)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"ids up to 221, the embedding table has 221 rows; 1 tokens .*'\[NEW\]'"):
        read_tokenizer(folder, vocab_size=ROWS)


def test_the_end_token_pads_where_there_is_no_padding_token(folder, caplog):
    edit_json(folder / "tokenizer_config.json", pad_token=..., eos_token="[SEP]")
    with caplog.at_level(logging.WARNING, logger="exporter"):
        assert read_tokenizer(folder, vocab_size=ROWS).pad_token_id == 3
    assert [record.message for record in caplog.records] == [
        "the tokenizer has no padding token; padding with its end token '[SEP]'"
    ]
    edit_json(folder / "tokenizer_config.json", eos_token=...)
    with pytest.raises(CheckpointError, match="the tokenizer has no padding token"):
        read_tokenizer(folder, vocab_size=ROWS)


def test_silent(folder, capfd):
    read_tokenizer(folder, vocab_size=ROWS)
    assert capfd.readouterr() == ("", "")
