"""Architectures that nobody listed: they work, or are refused with a reason. None yields a wrong vector."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolfold
from poolfold.errors import CheckFailed, CheckpointError, PoolfoldError
from tests.architectures import Architecture
from tests.conftest import export_here
from tests.exporter.model.reading import TEXTS, spec_of
from tests.exporter.pipeline.test_export import oracle
from tests.models import edit_json, tiny_checkpoint

pytestmark = pytest.mark.e2e

SIZES = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
PLAIN = SIZES | {"max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
GROUPED = PLAIN | {"num_key_value_heads": 1, "head_dim": 16}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "pad_token_id": 0}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"], "embedding_dim": 32}


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture("gte", PLAIN),
        Architecture("embedding_gemma2_text", GROUPED | WINDOWS),
        Architecture("gpt2", GPT2, pooling="lasttoken"),
        Architecture("llama", GROUPED | {"is_causal": False}),
        Architecture("layoutlm", PLAIN),
        Architecture("qwen3_moe", GROUPED | EXPERTS),
        Architecture("ultrabert", GROUPED | {"sliding_window": 8}),
    ],
    ids=lambda architecture: architecture.model_type,
)
def test_what_works_gives_sentence_transformers_vectors(tmp_path: Path, architecture: Architecture) -> None:
    folder = tiny_checkpoint(tmp_path / "model", architecture=architecture, pooling=architecture.pooling)
    export_here(folder, tmp_path / "out", threads=None)
    with poolfold.load(tmp_path / "out") as encoder:
        expected = oracle(folder, architecture.pooling, list(TEXTS))
        np.testing.assert_allclose(encoder.encode(TEXTS), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("model_type", "config", "side", "error", "reason"),
    [
        ("fnet", {}, "right", CheckpointError, r"graph does not read attention_mask"),
        ("longformer", {"attention_window": [8, 8]}, "right", CheckpointError, r"cannot trace a 'longformer'"),
        (
            "big_bird",
            {"block_size": 4, "num_random_blocks": 1},
            "right",
            CheckpointError,
            r"attention_type 'block_sparse'.*Set it to 'original_full'",
        ),
        ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 16}, "right", CheckpointError, r"expected \[batch, seq, 32\]"),
        ("mpnet", {"relative_attention_num_buckets": 8}, "right", CheckpointError, r"MPNetModel itself fails on"),
        ("bert", {}, "left", CheckFailed, r"these depend on the batch: .*padding on the left"),
    ],
)
def test_what_does_not_is_refused_with_a_reason(
    tmp_path: Path, model_type: str, config: dict[str, Any], side: str, error: type[PoolfoldError], reason: str
) -> None:
    architecture = Architecture(model_type, PLAIN | config)
    folder = tiny_checkpoint(tmp_path / "model", architecture=architecture, padding_side=side)
    with pytest.raises(error, match=reason):
        export_here(folder, tmp_path / "out", threads=None)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("architecture", "type_id", "types"), [("bert", 1, "[0, 1]"), (Architecture("gpt2", GPT2), 0, "[0]")]
)
def test_token_types_that_change_a_vector_are_refused(
    tmp_path: Path, architecture: str | Architecture, type_id: int, types: str
) -> None:
    folder = tiny_checkpoint(tmp_path / "model", architecture=architecture)
    edit_json(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask", "token_type_ids"])
    processor = json.loads((folder / "tokenizer.json").read_text())["post_processor"]
    processor["single"][1]["Sequence"]["type_id"] = type_id
    edit_json(folder / "tokenizer.json", post_processor=processor)
    with pytest.raises(CheckpointError, match=re.escape(f"the token types {types}, and this")):
        export_here(folder, tmp_path / "out", threads=None)


def test_code_of_the_checkpoint_that_is_not_run_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_checkpoint(tmp_path / "model", architecture="nomic_bert")
    edit_json(folder / "config.json", auto_map={"AutoModel": "modeling.NomicBertModel"})
    assert spec_of(folder).model_type == "nomic_bert"
    assert ["transformers' own nomic_bert is" in record.message for record in caplog.records] == [True]
