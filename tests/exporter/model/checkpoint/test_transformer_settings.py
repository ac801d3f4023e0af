from __future__ import annotations

import pytest

from exporter.model.checkpoint.transformer_settings import TransformerSettings, read_transformer_settings
from poolfold.errors import CheckpointError
from tests.models import write_json

TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (None, False)),
        ({"max_seq_length": 128, "do_lower_case": True}, (128, True)),
        ({"max_seq_length": None}, (None, False)),
        ({"transformer_task": "feature-extraction", "modality_config": {"text": TEXT}}, (None, False)),
        ({"modality_config": {"text": TEXT, "message": {"method": "forward", "format": "flat"}}}, (None, False)),
        (
            {"model_args": {"attn_implementation": "eager", "torch_dtype": "float16"}, "tokenizer_args": {}},
            (None, False),
        ),
        ({"unpad_inputs": True, "query_length": None}, (None, False)),
    ],
)
def test_what_is_kept(tmp_path, settings, expected):
    write_json(tmp_path / "sentence_bert_config.json", settings)
    assert read_transformer_settings(tmp_path) == TransformerSettings(*expected)


def test_no_file_sets_nothing(tmp_path):
    assert read_transformer_settings(tmp_path) == TransformerSettings(None, False)


def test_older_file_names(tmp_path):
    write_json(tmp_path / "sentence_xlnet_config.json", {"max_seq_length": 3})
    assert read_transformer_settings(tmp_path).max_seq_length == 3
    write_json(tmp_path / "sentence_roberta_config.json", {"max_seq_length": 2})
    assert read_transformer_settings(tmp_path).max_seq_length == 2
    write_json(tmp_path / "sentence_bert_config.json", {"max_seq_length": 1})
    assert read_transformer_settings(tmp_path).max_seq_length == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transformer_task": "fill-mask"}, "transformer_task 'fill-mask'; expected 'feature-extraction'"),
        ({"transformer_task": None}, "transformer_task None"),
        ({"module_output_name": "sentence_embedding"}, "expected 'token_embeddings'"),
        ({"modality_config": {"text": TEXT, "image": TEXT}}, "expected only text"),
        ({"modality_config": {"image": TEXT}}, "expected only text"),
        ({"modality_config": {"text": TEXT | {"method_output_name": "pooler_output"}}}, "pooler_output"),
        ({"modality_config": None}, "expected only text"),
        ({"max_seq_length": 0}, "max_seq_length 0"),
        ({"max_seq_length": "128"}, "max_seq_length '128'"),
        ({"max_seq_length": True}, "max_seq_length True"),
        ({"do_lower_case": "yes"}, "do_lower_case 'yes'"),
        ({"config_args": {"is_causal": False}}, "sets config_args to {'is_causal': False}"),
        ({"tokenizer_args": {"padding_side": "left"}}, "sets tokenizer_args"),
        ({"model_kwargs": 3}, "sets model_kwargs"),
        ({"query_length": 32}, "sets query_length to 32"),
        ({"processing_kwargs": {"text": {"max_length": 9}}}, "sets processing_kwargs"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, settings, message):
    write_json(tmp_path / "sentence_bert_config.json", settings)
    with pytest.raises(CheckpointError, match=message):
        read_transformer_settings(tmp_path)
