"""Checkpoints whose tokenizer.json transformers reads otherwise: the export has the vectors of the published ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import AutoModel, AutoTokenizer

import exporter
import poolfold
from exporter.spec.origin import TokenizerSource
from poolfold.errors import InputError
from poolfold.manifest import read_manifest
from tests.conftest import export_here
from tests.exporter.model.checkpoint.tokenizer_kinds import LINES, make, roles
from tests.models import tiny_checkpoint, write_json

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LIMIT = 24
"""Tokens; below what the tokenizer states, as sentence-transformers' own limit often is."""
TEXTS = [*LINES, "word " * 40]


def checkpoint(folder: Path, architecture: str, pooling: str, tokenizer: Tokenizer, rows: int, **settings: Any) -> Path:
    """A checkpoint with this tokenizer; `rows` of the embedding table."""
    config = {"vocab_size": rows}
    tiny_checkpoint(
        folder, architecture=architecture, pooling=pooling, dialect="old", max_seq_length=LIMIT, config=config
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": 64} | settings)
    return folder


def vectors(folder: Path, rows: Sequence[list[int]], pooling: str) -> npt.NDArray[np.float64]:
    """The checkpoint's vectors of these ids, float64 [rows, dim], of unit length."""
    model = AutoModel.from_pretrained(folder).eval()
    pooled = []
    for row in rows:
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([row])).last_hidden_state[0].double()
        pooled.append(hidden[-1] if pooling == "lasttoken" else hidden.mean(0))
    return torch.nn.functional.normalize(torch.stack(pooled)).numpy()


@pytest.mark.parametrize(
    ("architecture", "pooling", "kind", "name", "flags"),
    [
        ("mistral", "lasttoken", "byte-fallback", "LlamaTokenizerFast", {"add_bos_token": True, "add_eos_token": True}),
        ("bert", "mean", "unigram", "BertTokenizer", {}),
        ("bert", "mean", "unigram", None, {}),
        ("bert", "mean", "unigram", "RobertaTokenizer", {}),
        ("bert", "mean", "unigram-normalized", "XLMRobertaTokenizer", {}),
        ("qwen2", "lasttoken", "byte-level", "Qwen2TokenizerFast", {"pad_token": "<pad>"}),
    ],
)
def test_the_vectors_are_those_of_the_published_ids(
    tmp_path: Path, architecture: str, pooling: str, kind: str, name: str | None, flags: dict[str, Any]
) -> None:
    tokenizer, special = make(kind)
    named = {} if name is None else {"tokenizer_class": name}
    settings = roles(special) | named | flags
    folder = checkpoint(tmp_path / "in", architecture, pooling, tokenizer, tokenizer.get_vocab_size(), **settings)
    if flags.get("add_eos_token"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
        )
    tokenizer.enable_truncation(LIMIT)
    expected = [tokenizer.encode(text).ids for text in TEXTS]
    assert expected[-1][-1] == 3
    export_here(folder, tmp_path / "out")

    with poolfold.load(tmp_path / "out") as encoder:
        np.testing.assert_allclose(encoder.encode(TEXTS), vectors(folder, expected, pooling), rtol=0, atol=1e-5)
    reading = read_manifest(tmp_path / "out").model.tokenizer
    assert reading is not None
    assert reading.source == "file"
    assert reading.texts >= reading.differ > 0
    assert reading.example is not None
    assert reading.example.file != reading.example.transformers

    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert (config["model_max_length"], config["tokenizer_class"]) == (LIMIT, "PreTrainedTokenizerFast")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.model_max_length == LIMIT
    if architecture != "qwen2":  # transformers takes its own class for this model type, whatever is named
        assert theirs(TEXTS, truncation=True)["input_ids"] == expected


def test_a_token_beyond_the_table_refuses_its_texts_only(tmp_path: Path) -> None:
    tokenizer, special = make("unigram")
    rows = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens(["<image>"])
    settings = roles(special) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    folder = checkpoint(tmp_path / "in", "bert", "mean", tokenizer, rows, **settings)
    export_here(folder, tmp_path / "out")
    expected = [tokenizer.encode(text).ids for text in LINES]
    with poolfold.load(tmp_path / "out") as encoder:
        np.testing.assert_allclose(encoder.encode(LINES), vectors(folder, expected, "mean"), rtol=0, atol=1e-5)
        with pytest.raises(
            InputError, match=r"text 1 \('an <image> here'\) holds the token '<image>', whose id \d+ has"
        ):
            encoder.encode(["a", "an <image> here"])
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert config == json.loads((folder / "tokenizer_config.json").read_text()) | {"model_max_length": LIMIT}


def test_transformers_ids_are_taken_on_request(tmp_path: Path) -> None:
    tokenizer, special = make("unigram")
    settings = roles(special) | {"tokenizer_class": "RobertaTokenizer"}
    folder = checkpoint(tmp_path / "in", "bert", "mean", tokenizer, tokenizer.get_vocab_size(), **settings)
    manifest = export_here(folder, tmp_path / "out", tokenizer=TokenizerSource.TRANSFORMERS)
    assert manifest.model.tokenizer is not None
    assert manifest.model.tokenizer.source == "transformers"
    theirs = AutoTokenizer.from_pretrained(folder)(LINES)["input_ids"]
    assert theirs != [tokenizer.encode(text).ids for text in LINES]
    with poolfold.load(tmp_path / "out") as encoder:
        np.testing.assert_allclose(encoder.encode(LINES), vectors(folder, theirs, "mean"), rtol=0, atol=1e-5)
    assert all(report.passed for report in exporter.validate(tmp_path / "out", model=folder))
