from __future__ import annotations

import asyncio
import pickle  # noqa: TID251  # what is under test
from collections.abc import Callable
from pathlib import Path

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode

from poolfold import ArtifactError
from poolfold.integrations.llama_index import PoolfoldEmbedding
from tests.poolfold.integrations.conftest import documents, queries


def test_queries_and_texts(folder: Path):
    embedding = PoolfoldEmbedding(folder)
    assert embedding.get_query_embedding("w1") == queries("w1")[0].tolist()
    assert embedding.get_text_embedding("w1") == documents("w1")[0].tolist()
    assert embedding.get_text_embedding_batch(["w1", "w2"]) == documents("w1", "w2").tolist()
    assert embedding.model_name == "tests/table"


def test_without_blocking(folder: Path):
    embedding = PoolfoldEmbedding(folder)
    assert asyncio.run(embedding.aget_query_embedding("w1")) == queries("w1")[0].tolist()
    assert asyncio.run(embedding.aget_text_embedding("w1")) == documents("w1")[0].tolist()
    assert asyncio.run(embedding.aget_text_embedding_batch(["w1", "w2"])) == documents("w1", "w2").tolist()


def test_in_a_pipeline_whose_cache_tells_artifacts_apart(folder: Path, put_another: Callable[[], None]):
    nodes = [TextNode(text=f"w{i}", id_=str(i)) for i in range(3)]
    pipeline = IngestionPipeline(transformations=[PoolfoldEmbedding(folder)])
    before = [node.embedding for node in pipeline.run(nodes=nodes)]
    assert before == documents("w0", "w1", "w2").tolist()
    put_another()
    pipeline.transformations = [PoolfoldEmbedding(folder)]
    assert [node.embedding for node in pipeline.run(nodes=nodes)] != before


def test_saved_and_loaded(folder: Path):
    embedding = PoolfoldEmbedding(folder, embed_batch_size=7, query_prompt="", encode_kwargs={"truncate_dim": 4})
    for loaded in (
        PoolfoldEmbedding.from_dict(embedding.to_dict()),
        PoolfoldEmbedding.from_json(embedding.to_json()),
        pickle.loads(pickle.dumps(embedding)),
    ):
        assert loaded.get_query_embedding("w1") == embedding.get_query_embedding("w1")
        assert len(loaded.get_query_embedding("w1")) == 4
        assert loaded.embed_batch_size == 7


def test_loaded_with_this_model_and_no_other(folder: Path, put_another: Callable[[], None]):
    saved = PoolfoldEmbedding(folder).to_json()
    put_another()
    with pytest.raises(ArtifactError, match="is not the artifact that was saved"):
        PoolfoldEmbedding.from_json(saved)
