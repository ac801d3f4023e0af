"""Rotary positions that follow the length: the same vectors within the trained length, refused beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import LlamaConfig

from exporter.model.checkpoint.rope import plain_rope
from poolfold.errors import CheckpointError
from tests.exporter.model.reading import embed, spec_of
from tests.models import edit_json, tiny_checkpoint

HERE = Path("checkpoint")
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 5000.0}
PLAIN = {"rope_type": "default", "rope_theta": 5000.0}


def config(parameters: dict[str, Any], trained: int = 64) -> LlamaConfig:
    made = LlamaConfig(max_position_embeddings=trained)
    made.rope_parameters = parameters
    return made


def test_dynamic_within_the_trained_length_is_plain() -> None:
    for limit in (1, 64):
        assert plain_rope(config(DYNAMIC), limit, HERE) == PLAIN
    with pytest.raises(CheckpointError, match=r"rope_type 'dynamic', trained on 64 tokens, and max_seq_length 65"):
        plain_rope(config(DYNAMIC), 65, HERE)


def test_each_kind_of_layer_has_its_own() -> None:
    both = {"full_attention": DYNAMIC, "sliding_attention": PLAIN}
    assert plain_rope(config(both), 64, HERE) == {"full_attention": PLAIN, "sliding_attention": PLAIN}
    with pytest.raises(CheckpointError, match="'longrope'"):
        plain_rope(config(both | {"full_attention": {"rope_type": "longrope"}}), 1, HERE)


@pytest.mark.parametrize("kind", ["default", "linear", "yarn", "llama3"])
def test_scalings_that_do_not_follow_the_length_stay(kind: str) -> None:
    parameters = DYNAMIC | {"rope_type": kind}
    assert plain_rope(config(parameters), 10**6, HERE) == parameters
    fixed = DYNAMIC | {"alpha": 1000.0}
    assert plain_rope(config(fixed), 10**6, HERE) == fixed


@pytest.mark.slow
def test_the_vectors_of_dynamic_within_the_trained_length_are_those_of_plain_positions(tmp_path: Path) -> None:
    folders = []
    for name, parameters in (("dynamic", DYNAMIC), ("plain", PLAIN), ("linear", DYNAMIC | {"rope_type": "linear"})):
        folders.append(tiny_checkpoint(tmp_path / name, architecture="llama", config={"rope_parameters": parameters}))
    dynamic, plain, linear = map(embed, folders)
    np.testing.assert_array_equal(dynamic, plain)
    assert np.abs(dynamic - linear).max() > 1e-3
    # The older name of the same settings.
    edit_json(
        folders[0] / "config.json", rope_parameters=..., rope_scaling={"type": "dynamic", "factor": 4.0}, rope_theta=5e3
    )
    np.testing.assert_array_equal(embed(folders[0]), plain)
    edit_json(folders[0] / "config.json", max_position_embeddings=16)
    edit_json(folders[0] / "sentence_bert_config.json", max_seq_length=17)
    with pytest.raises(CheckpointError, match="trained on 16 tokens"):
        spec_of(folders[0])
