from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import Distance

from poolfold import ArtifactError, InputError
from poolfold.integrations.qdrant import PoolfoldVectors
from tests.artifacts import DIM, model_values, write_artifact
from tests.poolfold.integrations.conftest import documents, queries

TEXTS = ["w1", "w2 w3", "w4"]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    with_memory = QdrantClient(":memory:")
    yield with_memory
    with_memory.close()


def test_a_collection_is_made_filled_and_asked(folder: Path, client: QdrantClient):
    vectors = PoolfoldVectors(folder)
    vectors.create_collection(client, "c")
    client.upload_points("c", vectors.points(iter(TEXTS), ids=[3, 1, 2], payloads=[{"n": i} for i in range(3)]))
    found = PoolfoldVectors.of_collection(client, "c")
    hits = client.query_points("c", query=found.query("w2"), with_payload=True, limit=3).points
    wanted = documents(*TEXTS) / np.linalg.norm(documents(*TEXTS), axis=1, keepdims=True)
    cosine = wanted @ queries("w2")[0] / np.linalg.norm(queries("w2")[0])
    order = np.argsort(-cosine)
    assert [hit.id for hit in hits] == [[3, 1, 2][i] for i in order]
    assert [hit.payload for hit in hits] == [{"n": i} for i in order]
    np.testing.assert_allclose([hit.score for hit in hits], cosine[order], atol=1e-5)


def test_without_ids_and_payloads_points_have_new_ones_and_the_text(folder: Path):
    points = list(PoolfoldVectors(folder).points(TEXTS))
    assert [point.payload for point in points] == [{"text": text} for text in TEXTS]
    assert len({point.id for point in points}) == 3
    np.testing.assert_array_equal([point.vector for point in points], documents(*TEXTS))


def test_very_many_texts_are_read_as_they_are_needed(folder: Path):
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for _ in range(5000):
            read += 1
            yield "w1"

    points = PoolfoldVectors(folder).points(texts())
    next(points)
    assert read < 3000
    assert len(list(points)) == 4999


def test_ids_that_do_not_match_are_an_error(folder: Path):
    with pytest.raises(ValueError, match="shorter"):
        list(PoolfoldVectors(folder).points(TEXTS, ids=[1]))


def test_another_artifact_in_its_place_is_refused(folder: Path, client: QdrantClient, put_another: Callable[[], None]):
    PoolfoldVectors(folder).create_collection(client, "c")
    put_another()
    with pytest.raises(ArtifactError, match="is not the artifact that was saved"):
        PoolfoldVectors.of_collection(client, "c")


def test_a_collection_that_does_not_say_is_refused(folder: Path, client: QdrantClient):
    client.create_collection("c", vectors_config=PoolfoldVectors(folder).vectors_config)
    with pytest.raises(InputError, match="c does not say which artifact made it"):
        PoolfoldVectors.of_collection(client, "c")


def test_length_and_distance_are_the_models(tmp_path: Path):
    write_artifact(tmp_path / "model", model=model_values(similarity="dot"))
    config = PoolfoldVectors(tmp_path / "model").vectors_config
    assert (config.size, config.distance) == (DIM, Distance.DOT)
