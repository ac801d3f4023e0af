from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MODEL_MAPPING, AutoConfig, AutoModel

from exporter.model.checkpoint.sequence_limit import OFFSET_TYPES, max_seq_length
from poolfold.errors import CheckpointError
from tests.architectures import ARCHITECTURES

BERT = AutoConfig.for_model("bert", max_position_embeddings=512)
ROBERTA = AutoConfig.for_model("roberta", max_position_embeddings=514, pad_token_id=1)
ROTARY = AutoConfig.for_model("qwen3", max_position_embeddings=2048)
NO_CONTEXT = AutoConfig.for_model("xlnet")
T5 = AutoConfig.for_model("t5", n_positions=512)
TABLE = {"encoder.embeddings.position_embeddings.weight": (512, 8), "pooler.weight": (4, 4)}
TABLE_514 = {"embeddings.position_embeddings.weight": (514, 8)}
NO_TABLE = {"layers.0.weight": (4, 4)}


@pytest.mark.parametrize(
    ("config", "shapes", "stated", "tokenizer_limit", "expected"),
    [
        (BERT, TABLE, 256, 512, 256),
        (BERT, TABLE, 256, 128, 256),
        (BERT, TABLE, None, 128, 128),
        (BERT, TABLE, None, None, 512),
        (BERT, TABLE, 1024, None, 512),
        (BERT, TABLE, None, 1024, 512),
        (BERT, {"embeddings.position_embeddings.weight": (64, 8)}, None, None, 64),
        (BERT, {}, 1024, None, 512),
        (ROBERTA, TABLE_514, None, 512, 512),
        (ROBERTA, TABLE_514, None, None, 512),
        (ROBERTA, TABLE_514, 514, None, 512),
        (ROBERTA, {}, 514, None, 512),
        (ROTARY, NO_TABLE, 4096, 8192, 4096),
        (ROTARY, NO_TABLE, None, 8192, 2048),
        (ROTARY, NO_TABLE, None, 1024, 1024),
        (ROTARY, NO_TABLE, None, None, 2048),
        (NO_CONTEXT, NO_TABLE, 300, None, 300),
        (NO_CONTEXT, NO_TABLE, None, 400, 400),
        (T5, NO_TABLE, 1024, None, 1024),
        (T5, NO_TABLE, None, 1024, 1024),
        (T5, NO_TABLE, None, None, 512),
    ],
)
def test_limits(config, shapes, stated, tokenizer_limit, expected):
    assert max_seq_length(config, shapes, stated, tokenizer_limit) == expected


@given(stated=st.none() | st.integers(1, 2000), tokenizer_limit=st.none() | st.integers(1, 2000))
def test_never_beyond_the_table(stated, tokenizer_limit):
    for config, shapes in ((BERT, TABLE), (ROBERTA, TABLE_514)):
        assert 1 <= max_seq_length(config, shapes, stated, tokenizer_limit) <= 512


@given(stated=st.none() | st.integers(1, 2000), longest=st.integers(1, 2000))
def test_what_the_user_wants_only_lowers_it(stated, longest):
    for config, shapes in ((BERT, TABLE), (ROBERTA, TABLE_514), (ROTARY, NO_TABLE), (T5, NO_TABLE)):
        own = max_seq_length(config, shapes, stated, None)
        assert max_seq_length(config, shapes, stated, None, longest) == min(own, longest)
    assert max_seq_length(NO_CONTEXT, NO_TABLE, None, None, longest) == longest


def test_only_a_limit_that_somebody_set_is_warned_about(caplog):
    with caplog.at_level(logging.WARNING):
        max_seq_length(ROBERTA, TABLE_514, None, None)
        assert not caplog.records
        max_seq_length(ROBERTA, TABLE_514, None, 513)
    assert [record.message for record in caplog.records] == [
        "max_seq_length 513 is beyond the position table; texts are cut at 512 tokens"
    ]


def test_no_limit_anywhere_is_refused():
    with pytest.raises(CheckpointError, match="Nothing says how many tokens this xlnet takes"):
        max_seq_length(NO_CONTEXT, NO_TABLE, None, None)


def test_a_table_without_room_is_refused():
    with pytest.raises(CheckpointError, match="holds no token"):
        max_seq_length(ROBERTA, {"embeddings.position_embeddings.weight": (2, 8)}, None, None)


def position_table(model_type):
    config = AutoConfig.for_model(model_type, pad_token_id=1, vocab_size=40)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    return next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)


@pytest.mark.parametrize("model_type", sorted(OFFSET_TYPES))
def test_the_offset_types_keep_rows_for_padding(model_type):
    assert type(AutoConfig.for_model(model_type)) in MODEL_MAPPING
    table = position_table(model_type)
    assert table is not None
    assert table.padding_idx == 1


TYPES = {architecture.model_type for architecture in ARCHITECTURES.values()}


@pytest.mark.parametrize("model_type", [*sorted(TYPES - OFFSET_TYPES), "big_bird", "xlm"])
def test_others_do_not(model_type):
    table = position_table(model_type)
    assert table is None or table.padding_idx is None
