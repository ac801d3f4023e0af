from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.checkpoint.pooling_config import PoolingConfig, read_pooling
from graphs.pooling.strategy import PoolingMode
from poolfold.errors import CheckpointError
from tests.models import POOLING_KEYS, write_json

MODES = st.lists(st.sampled_from(list(PoolingMode)), min_size=1, unique=True)


def read(**config):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({"word_embedding_dimension": 32} | config))
        return read_pooling(Path(folder))


def booleans(modes):
    return {key: mode in modes for mode, key in POOLING_KEYS.items()}


@given(modes=MODES, include=st.booleans())
def test_the_new_dialect_keeps_the_order_of_its_list(modes, include):
    assert read(pooling_mode=modes, include_prompt=include) == PoolingConfig(tuple(modes), 32, include)


@given(mode=st.sampled_from(list(PoolingMode)))
def test_a_single_mode_is_a_name_or_a_list_of_one(mode):
    assert read(pooling_mode=mode) == read(pooling_mode=[mode]) == PoolingConfig((mode,), 32, True)


@given(modes=MODES)
def test_the_old_dialect_has_an_order_of_its_own(modes):
    fixed = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
    assert read(**booleans(modes)).strategy == tuple(mode for mode in fixed if mode in modes)


def test_the_booleans_of_the_earliest_releases():
    config = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
    assert read(**config).strategy == (PoolingMode.MEAN,)


@given(listed=MODES, ticked=MODES)
def test_both_dialects_at_once_must_agree(listed, ticked):
    config = booleans(ticked) | {"pooling_mode": listed}
    if set(listed) == set(ticked):
        assert read(**config).strategy == tuple(listed)
    else:
        with pytest.raises(CheckpointError, match="contradicts itself"):
            read(**config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "says no pooling"),
        (booleans([]), "says no pooling"),
        (booleans([]) | {"pooling_mode": "mean"}, "contradicts itself"),
        ({"pooling_mode": "median"}, "pooling_mode 'median'; expected one of cls, mean, max"),
        ({"pooling_mode": []}, "expected one of"),
        ({"pooling_mode": None}, "expected one of"),
        ({"pooling_mode": ["mean", 3]}, "expected one of"),
        ({"pooling_mode": {"mean": True}}, "expected one of"),
        ({"pooling_mode": ["mean", "mean"]}, "with a mode twice"),
        ({"pooling_mode_median_tokens": False}, "unknown key pooling_mode_median_tokens"),
        ({"pooling_mode_mean_tokens": "true"}, "expected true or false"),
        ({"pooling_mode_mean_tokens": 1}, "expected true or false"),
        ({"pooling_mode": "mean", "include_prompt": "no"}, "include_prompt 'no'"),
        ({"pooling_mode": "mean", "word_embedding_dimension": None}, "embedding_dimension None"),
    ],
)
def test_never_a_default(config, message):
    with pytest.raises(CheckpointError, match=message):
        read(**config)


def test_the_new_dimension_key_wins(tmp_path):
    write_json(tmp_path / "config.json", {"embedding_dimension": 7, "pooling_mode": "cls"})
    assert read_pooling(tmp_path).dimension == 7
