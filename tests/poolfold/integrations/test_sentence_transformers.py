from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from poolfold import ArtifactError
from poolfold.integrations.sentence_transformers import Poolfold
from tests.artifacts import DIM
from tests.poolfold.integrations.conftest import documents, expected, queries

TEXTS = ["w1", "w2 w3", "w4"]


def again(folder: Path) -> SentenceTransformer:
    """The library asks before it imports a module that is not its own."""
    return SentenceTransformer(str(folder), trust_remote_code=True)


def test_encode_is_the_artifacts(folder: Path):
    model = SentenceTransformer(modules=[Poolfold(folder)])
    np.testing.assert_array_equal(model.encode(TEXTS), expected(TEXTS))
    np.testing.assert_array_equal(model.encode_query(TEXTS), queries(*TEXTS))
    np.testing.assert_array_equal(model.encode_document("w1"), documents("w1")[0])
    np.testing.assert_array_equal(model.encode(TEXTS, prompt="w5 "), expected([f"w5 {text}" for text in TEXTS]))
    np.testing.assert_array_equal(model.encode(TEXTS, batch_size=1), expected(TEXTS))
    assert model.encode(TEXTS, convert_to_tensor=True).dtype == torch.float32
    assert model.get_embedding_dimension() == DIM
    assert model.max_seq_length == 16


def test_prompts_of_its_own_are_taken(folder: Path):
    model = SentenceTransformer(modules=[Poolfold(folder)], prompts={"query": "w5 "})
    np.testing.assert_array_equal(model.encode_query(["w1"]), expected(["w5 w1"]))


def test_a_limit_may_be_lowered(folder: Path):
    model = SentenceTransformer(modules=[Poolfold(folder)])
    model.max_seq_length = 4
    with pytest.warns(UserWarning, match="have more than 4 tokens"):
        np.testing.assert_array_equal(model.encode(["w1 w2 w3 w4"]), expected(["w1 w2"]))


def test_a_saved_model_has_the_artifact_in_it(folder: Path, tmp_path: Path):
    options = {"query_prompt": "w6 ", "encode_kwargs": {"truncate_dim": 4}}
    model = SentenceTransformer(modules=[Poolfold(folder, **options)])
    model.save(str(tmp_path / "saved"))
    shutil.rmtree(folder)
    (tmp_path / "saved").rename(tmp_path / "moved")
    loaded = again(tmp_path / "moved")
    np.testing.assert_array_equal(loaded.encode_query(TEXTS), expected([f"w6 {text}" for text in TEXTS])[:, :4])
    loaded.save(str(tmp_path / "twice"))
    np.testing.assert_array_equal(again(tmp_path / "twice").encode(TEXTS), expected(TEXTS)[:, :4])


def test_a_saved_model_whose_artifact_was_changed_is_refused(folder: Path, tmp_path: Path):
    SentenceTransformer(modules=[Poolfold(folder)]).save(str(tmp_path / "saved"))
    manifest = tmp_path / "saved" / "artifact" / "tokenizer.json"
    manifest.write_text(manifest.read_text().replace("w25", "w26"))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        again(tmp_path / "saved")
