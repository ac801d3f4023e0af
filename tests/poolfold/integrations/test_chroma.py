from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings

from poolfold import InputError
from poolfold.integrations.chroma import PoolfoldEmbeddingFunction
from tests.artifacts import model_values, write_artifact
from tests.poolfold.integrations.conftest import documents, queries

TEXTS = ["w1", "w2 w3", "w4"]


def client(folder: Path) -> chromadb.ClientAPI:
    # A client of its own for each call: Chroma keeps one for each path of a process.
    chromadb.api.client.SharedSystemClient.clear_system_cache()
    return chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))


def test_queries_and_documents(folder: Path):
    function = PoolfoldEmbeddingFunction(folder)
    np.testing.assert_array_equal(function(TEXTS), documents(*TEXTS))
    np.testing.assert_array_equal(function.embed_query(["w1"]), queries("w1"))


def test_a_collection_that_is_opened_again_has_its_function(folder: Path, tmp_path: Path):
    made = client(tmp_path / "db").create_collection("texts", embedding_function=PoolfoldEmbeddingFunction(folder))
    made.add(ids=["1", "2", "3"], documents=TEXTS)
    opened = client(tmp_path / "db").get_collection("texts")
    # Of a collection with cosines, Chroma keeps unit vectors and lengths.
    np.testing.assert_allclose(opened.get(include=["embeddings"])["embeddings"], documents(*TEXTS), rtol=1e-6)
    assert opened.configuration_json["hnsw"]["space"] == "cosine"
    found = opened.query(query_texts=["w2"], n_results=3, include=["distances"])
    vectors = documents(*TEXTS)
    cosine = (vectors @ queries("w2")[0]) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(queries("w2")[0])
    assert found["ids"] == [[str(i + 1) for i in np.argsort(-cosine)]]
    np.testing.assert_allclose(sorted(found["distances"][0]), sorted(1 - cosine), atol=1e-5)


def test_another_artifact_in_its_place_is_refused(folder: Path, tmp_path: Path, put_another: Callable[[], None]):
    client(tmp_path / "db").create_collection("texts", embedding_function=PoolfoldEmbeddingFunction(folder))
    put_another()
    with pytest.raises(Exception, match="is not the artifact that was saved"):
        client(tmp_path / "db").get_collection("texts").query(query_texts=["w2"])


def test_the_function_of_a_collection_may_move_and_not_change(folder: Path, tmp_path: Path):
    function = PoolfoldEmbeddingFunction(folder)
    moved = folder.rename(tmp_path / "moved")
    function.validate_config_update(function.get_config(), PoolfoldEmbeddingFunction(moved).get_config())
    write_artifact(tmp_path / "other")
    with pytest.raises(InputError, match=r"is another artifact\. Make a collection for it"):
        function.validate_config_update(
            function.get_config(), PoolfoldEmbeddingFunction(tmp_path / "other").get_config()
        )


@pytest.mark.parametrize(("similarity", "space"), [("cosine", "cosine"), ("dot", "ip"), ("euclidean", "l2")])
def test_the_distance_is_the_models(tmp_path: Path, similarity: str, space: str):
    write_artifact(tmp_path / "model", model=model_values(similarity=similarity))
    assert PoolfoldEmbeddingFunction(tmp_path / "model").default_space() == space
