from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from exporter.model.checkpoint.tokenizer import TokenizerFile, check_artifact_ids, read_tokenizer
from exporter.model.checkpoint.tokenizer_texts import TEXTS, texts_for
from exporter.spec.origin import TokenizerSource
from poolfold.errors import CheckpointError
from poolfold.manifest import Text
from tests.exporter.model.checkpoint.tokenizer_kinds import KINDS, STRINGS, folder_of, make, roles

CLASSES = (
    None, "PreTrainedTokenizerFast", "BertTokenizer", "MPNetTokenizerFast", "RobertaTokenizer", "XLMRobertaTokenizer",
    "LlamaTokenizerFast", "GemmaTokenizer", "CohereTokenizerFast", "Qwen2TokenizerFast", "T5Tokenizer",
    "DebertaV2Tokenizer",
)  # fmt: skip
"""None: no class is named, and config.json's model type decides."""


def write(folder: Path, kind: str, **settings: Any) -> tuple[Path, Tokenizer]:
    """A folder with a tokenizer of a kind and its roles, and the tokenizer."""
    tokenizer, special = make(kind)
    model_type = settings.pop("model_type", "bert")
    return folder_of(folder, tokenizer, roles(special) | settings, model_type), tokenizer


def read(folder: Path, **options: Any) -> TokenizerFile:
    rows = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    return read_tokenizer(folder, **{"vocab_size": rows} | options)


def text_of(limit: int) -> Text:
    return Text(
        max_seq_length=limit,
        padding_side="right",
        truncation_side="right",
        pad_token_id=0,
        lower_case=False,
        prompts={},
        default_prompt_name=None,
    )


def ids(file: TokenizerFile, *texts: str) -> list[list[int]]:
    tokenizer = Tokenizer.from_str(file.json)
    return [tokenizer.encode(text).ids for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_twelve_classes_over_a_kind_of_file_give_the_file_s_ids(tmp_path, kind):
    assert (len(CLASSES), len(KINDS), len(STRINGS)) == (12, 8, 40)
    tokenizer, special = make(kind)
    expected = [tokenizer.encode(text).ids for text in STRINGS]
    for name in CLASSES:
        folder = folder_of(tmp_path / str(name), tokenizer, roles(special) | {"tokenizer_class": name})
        assert ids(read(folder), *STRINGS) == expected, name


def test_the_comparison_is_not_blind(tmp_path, caplog):
    folder, tokenizer = write(tmp_path, "unigram", tokenizer_class="BertTokenizer")
    file = read(folder)
    words = tokenizer.encode("hello world").ids
    assert file.reading.source == "file"
    assert file.reading.example is not None
    assert (file.reading.example.text, file.reading.example.file) == ("hello world", tuple(words))
    # The library knows no piece of either word.
    assert file.reading.example.transformers == (2, 1, 1, 3)
    theirs = AutoTokenizer.from_pretrained(folder)
    both = [(tokenizer.encode(text).ids, theirs(text)["input_ids"]) for text in texts_for(roles_of(tokenizer))]
    assert (file.reading.texts, file.reading.differ) == (len(both), sum(a != b for a, b in both))
    (record,) = caplog.records
    assert f"{file.reading.differ} of {file.reading.texts} texts different ids: 'hello world' is" in record.message
    assert "[2, 1, 1, 3] by transformers" in record.message
    assert "--tokenizer transformers follows the library" in record.message


def roles_of(tokenizer: Tokenizer) -> list[str]:
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def test_the_library_is_followed_on_request(tmp_path):
    folder, _ = write(tmp_path, "unigram", tokenizer_class="BertTokenizer")
    file = read(folder, source=TokenizerSource.TRANSFORMERS)
    assert file.reading.source == "transformers"
    assert file.reading.differ > 200
    theirs = AutoTokenizer.from_pretrained(folder)
    assert ids(file, *STRINGS) == [theirs(text)["input_ids"] for text in STRINGS]


def test_where_both_agree_nothing_is_said(tmp_path, caplog):
    folder, _ = write(tmp_path, "wordpiece", tokenizer_class="BertTokenizer")
    assert read(folder).reading.differ == 0
    assert not caplog.records


def test_the_texts_are_many_and_each_has_a_utf8_form():
    assert len(TEXTS) == len(set(TEXTS)) > 200
    assert all(text.encode() or text == "" for text in TEXTS)
    assert {"<new>", "a<new>b", "an <new> here", "<NEW>"} <= set(texts_for(["<new>"]))
    assert len(texts_for([f"<extra_{i}>" for i in range(1000)])) < len(TEXTS) + 110


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"add_bos_token": True, "add_eos_token": True}, ["<s>", "</s>"]),
        ({"add_bos_token": False, "add_eos_token": True}, [None, "</s>"]),
        ({"add_bos_token": False, "add_eos_token": False}, [None, None]),
        ({"add_eos_token": True}, ["<s>", "</s>"]),
        ({"add_bos_token": True}, ["<s>", None]),
        ({}, ["<s>", None]),
    ],
)
@pytest.mark.parametrize("named", [{"tokenizer_class": "LlamaTokenizer"}, {"model_type": "mistral"}], ids=str)
def test_the_flags_of_a_decoder_s_class(tmp_path, settings, expected, named):
    folder, tokenizer = write(tmp_path, "byte-fallback", **named, **settings)
    start, end = ([] if token is None else [tokenizer.token_to_id(token)] for token in expected)
    assert ids(read(folder), "hello") == [[*start, *tokenizer.encode("hello", add_special_tokens=False).ids, *end]]


@pytest.mark.parametrize("name", ["GemmaTokenizerFast", "CodeLlamaTokenizer", "CohereTokenizer", "GPTNeoXTokenizer"])
def test_other_classes_with_the_same_flags(tmp_path, name):
    settings = {"tokenizer_class": name, "add_bos_token": False, "add_eos_token": True}
    folder, tokenizer = write(tmp_path, "unigram", **settings)
    assert ids(read(folder), "a") == [[*tokenizer.encode("a", add_special_tokens=False).ids, 3]]


def test_a_class_that_never_had_the_flags_keeps_the_template(tmp_path):
    folder, tokenizer = write(tmp_path, "byte-level", tokenizer_class="Qwen2Tokenizer", add_bos_token=False)
    assert ids(read(folder), "hello") == [tokenizer.encode("hello").ids]
    assert tokenizer.encode("hello").ids[0] == 2


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"eos_token": "<gone>"}, "add_eos_token with eos_token '<gone>', and there is no such token"),
        ({"eos_token": {"content": "<gone>"}}, "add_eos_token with eos_token '<gone>', and there is no such token"),
    ],
)
def test_a_flag_that_asks_for_a_token_that_is_not_there_is_refused(tmp_path, settings, reason):
    folder, _ = write(tmp_path, "unigram", tokenizer_class="LlamaTokenizer", add_eos_token=True, **settings)
    with pytest.raises(CheckpointError, match=reason):
        read(folder)


def test_a_pooled_end_that_no_reading_adds_is_refused(tmp_path):
    # transformers 4 ignored the flag for such a class; transformers 5 drops it without an eos_token.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": True, "eos_token": None}
    folder, _ = write(tmp_path, "byte-fallback", **settings)
    with pytest.raises(CheckpointError, match=r"pools the last token.*asks for add_eos_token: neither"):
        read(folder, pools_last=True)
    assert read(folder).reading.source == "file"


def test_a_pooled_end_that_the_flag_adds_is_there(tmp_path):
    folder, _ = write(tmp_path, "byte-fallback", tokenizer_class="LlamaTokenizerFast", add_eos_token=True)
    assert {row[-1] for row in ids(read(folder, pools_last=True), *STRINGS)} == {3}


@pytest.mark.parametrize("limit", [2, 3, 8])
def test_the_end_follows_a_text_that_is_cut(tmp_path, limit):
    folder, tokenizer = write(tmp_path, "unigram", tokenizer_class="LlamaTokenizer", add_eos_token=True)
    file = read(folder)
    text = text_of(limit)
    check_artifact_ids(file, text, tokenizer.get_vocab_size())
    longest = tokenizer.encode("word " * 80, add_special_tokens=False).ids
    rows = dict(zip(file.readings.texts, file.readings.rows(limit, "right"), strict=True))
    assert rows["word " * 80] == [2, *longest[: limit - 2], 3]


def test_a_tokenizer_that_the_artifact_cannot_repeat_is_refused(tmp_path):
    folder, tokenizer = write(tmp_path, "byte-level", tokenizer_class="PreTrainedTokenizerFast")
    assert isinstance(tokenizer.model, models.BPE)
    tokenizer.model.dropout = 0.5
    tokenizer.save(str(folder / "tokenizer.json"))
    text = text_of(64)
    with pytest.raises(CheckpointError, match=r"the artifact's tokenizer\.json gives .* such as dropout"):
        check_artifact_ids(read(folder), text, tokenizer.get_vocab_size())


@pytest.mark.parametrize(
    ("settings", "same_as"),
    [
        ({}, "cafe"),
        ({"do_lower_case": True}, "cafe"),
        ({"do_lower_case": False}, None),
        ({"do_lower_case": True, "strip_accents": False}, "caf\u00e9"),
    ],
)
def test_the_flags_of_bert_change_its_normalizer(tmp_path, settings, same_as):
    folder, tokenizer = write(tmp_path, "wordpiece", tokenizer_class="BertTokenizer", **settings)
    tokenizer.normalizer = None
    expected = "CAF\u00c9" if same_as is None else same_as
    assert ids(read(folder), "CAF\u00c9") == [tokenizer.encode(expected).ids]
    distinct = ["cafe", "caf\u00e9"]  # or the test shows nothing
    assert tokenizer.encode(distinct[0]).ids != tokenizer.encode(distinct[1]).ids


def test_the_prefix_space_of_a_byte_level_file(tmp_path):
    folder, tokenizer = write(tmp_path, "byte-level", tokenizer_class="RobertaTokenizer", add_prefix_space=True)
    assert ids(read(folder), "hello") == [tokenizer.encode(" hello").ids]
    assert tokenizer.encode(" hello").ids != tokenizer.encode("hello").ids
    assert isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)


def test_tokens_that_stand_beside_the_file_are_added_where_the_table_has_rows_for_them(tmp_path):
    new = {
        "content": "<new>",
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "single_word": False,
        "special": True,
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<more>"]}
    folder, tokenizer = write(tmp_path, "unigram", **settings)
    rows = tokenizer.get_vocab_size()
    assert ids(read(folder, vocab_size=rows + 1), "<more>") == [[2, rows, 3]]
    # No model can have been run on an id without a row.
    assert ids(read(folder, vocab_size=rows), "<more>") == [tokenizer.encode("<more>").ids]
    folder, _ = write(tmp_path, "unigram", **settings, added_tokens_decoder={str(rows): new})
    assert ids(read(folder, vocab_size=rows + 2), "<new><more>") == [[2, rows, rows + 1, 3]]


def test_what_the_library_cannot_read_is_taken_from_the_file(tmp_path, caplog):
    # A class that neither transformers nor the user's trust has.
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    folder, tokenizer = write(tmp_path, "byte-level", **own, padding_side="left", model_max_length=77, model_type="own")
    file = read(folder)
    assert ids(file, *STRINGS) == [tokenizer.encode(text).ids for text in STRINGS]
    assert (file.padding_side, file.truncation_side, file.limit, file.pad_token_id) == ("left", "right", 77, 0)
    assert file.reading.texts == 0
    assert "transformers cannot read this tokenizer; tokenizer.json is taken alone" in caplog.records[0].message
    with pytest.raises(CheckpointError, match="has no tokenizer that can be read"):
        read(folder, source=TokenizerSource.TRANSFORMERS)


def test_the_checkpoint_s_own_code_belongs_to_the_library_s_reading(tmp_path):
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own_tokenizer.OwnTokenizer"]}}
    folder, tokenizer = write(tmp_path, "unigram", **own)
    (folder / "own_tokenizer.py").write_text(
        "from tokenizers import normalizers, pre_tokenizers\n"
        "from transformers import PreTrainedTokenizerFast\n\n\n"
        "class OwnTokenizer(PreTrainedTokenizerFast):\n"
        "    def __init__(self, *args, **kwargs):\n"
        "        super().__init__(*args, **kwargs)\n"
        "        self.backend_tokenizer.normalizer = normalizers.Lowercase()\n"
        "        self.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme='first')\n"
    )
    file = read(folder, trust_remote_code=True)
    assert ids(file, "HELLO") == [tokenizer.encode("HELLO").ids]
    assert file.reading.differ > 0
    followed = read(folder, trust_remote_code=True, source=TokenizerSource.TRANSFORMERS)
    assert ids(followed, "HELLO") == [tokenizer.encode("hello").ids]
    assert tokenizer.encode("hello").ids != tokenizer.encode("HELLO").ids


def test_special_tokens_that_are_to_be_split_are_refused(tmp_path):
    folder, _ = write(tmp_path, "unigram", split_special_tokens=True)
    with pytest.raises(CheckpointError, match="sets split_special_tokens, which"):
        read(folder)


def test_a_class_that_splits_in_python_is_refused(tmp_path):
    folder, _ = write(tmp_path, "wordpiece", tokenizer_class="RoFormerTokenizer", model_type="roformer")
    with pytest.raises(CheckpointError, match="only Python can run: RoFormerTokenizer"):
        read(folder)


def test_two_readings_without_a_tokenizer_json_are_refused(tmp_path):
    folder, tokenizer = write(
        tmp_path, "byte-level", tokenizer_class="GPTNeoXTokenizer", add_bos_token=True, model_type="gpt_neox"
    )
    tokenizer.model.save(str(folder))
    (folder / "tokenizer.json").unlink()
    file = read_tokenizer(folder, vocab_size=1000)
    assert (file.reading.source, file.reading.texts) == ("transformers", 0)
    fields = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "CohereTokenizer"}
    del fields["add_bos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(fields | {"add_eos_token": True}))
    with pytest.raises(
        CheckpointError, match=r"no tokenizer.json, and its tokenizer_config.json can be read in two ways"
    ):
        read_tokenizer(folder, vocab_size=1000)


@pytest.mark.parametrize(
    ("settings", "pad"),
    [
        ({}, 0),
        ({"pad_token": "<mask>"}, 4),
        ({"pad_token": "<gone>"}, 0),  # config.json's
        ({"pad_token": {"content": "</s>"}}, 3),
    ],
)
def test_the_padding_token_is_one_that_exists(tmp_path, settings, pad):
    folder, _ = write(tmp_path, "byte-level", tokenizer_class="Qwen2Tokenizer", **settings)
    assert read(folder).pad_token_id == pad


def test_an_invented_padding_token_is_not_taken(tmp_path, caplog):
    folder, _ = write(tmp_path, "byte-level", tokenizer_class="Qwen2Tokenizer", pad_token=None)
    caplog.set_level(logging.ERROR)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs.pad_token_id == len(theirs) - 1  # <|endoftext|>, which the file does not have
    assert read(folder).pad_token_id == 0
