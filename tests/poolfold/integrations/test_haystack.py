from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from poolfold import ArtifactError, InputError
from poolfold.integrations.haystack import PoolfoldDocumentEmbedder, PoolfoldTextEmbedder
from tests.poolfold.integrations.conftest import documents, queries


def test_queries_and_documents(folder: Path):
    assert PoolfoldTextEmbedder(folder).run("w1") == {"embedding": queries("w1")[0].tolist()}
    given = [Document(content="w1", meta={"title": "w3", "none": None}), Document(content=None)]
    made = PoolfoldDocumentEmbedder(folder).run(given)["documents"]
    assert [document.embedding for document in made] == documents("w1", "").tolist()
    assert [document.embedding for document in given] == [None, None]
    titled = PoolfoldDocumentEmbedder(folder, meta_fields_to_embed=["title", "none"], embedding_separator=" ")
    assert [d.embedding for d in titled.run(given)["documents"]] == documents("w3 w1", "").tolist()
    assert titled.run([]) == {"documents": []}


def test_without_blocking(folder: Path):
    assert asyncio.run(PoolfoldTextEmbedder(folder).run_async("w1")) == {"embedding": queries("w1")[0].tolist()}
    made = asyncio.run(PoolfoldDocumentEmbedder(folder).run_async([Document(content="w1")]))["documents"]
    assert made[0].embedding == documents("w1")[0].tolist()


def test_one_component_given_to_the_others_place(folder: Path):
    with pytest.raises(InputError, match=r"got a list; expected a str\. Give documents to PoolfoldDocumentEmbedder"):
        PoolfoldTextEmbedder(folder).run([])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"got a str; expected a list of Documents\. Give a text to Poolfold"):
        PoolfoldDocumentEmbedder(folder).run("w1")  # type: ignore[arg-type]


def searching(folder: Path, store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", PoolfoldTextEmbedder(folder, threads=1))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=3))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def test_a_pipeline_saved_and_loaded(folder: Path):
    store = InMemoryDocumentStore()
    texts = [Document(content=f"w{i}") for i in range(9)]
    store.write_documents(PoolfoldDocumentEmbedder(folder).run(texts)["documents"])
    pipeline = searching(folder, store)
    found = pipeline.run({"embedder": {"text": "w3"}})["retriever"]["documents"]
    again = Pipeline.loads(pipeline.dumps())
    assert again.run({"embedder": {"text": "w3"}})["retriever"]["documents"] == found
    assert len(found) == 3


def test_loaded_with_this_model_and_no_other(folder: Path, put_another: Callable[[], None]):
    pipeline = Pipeline()
    pipeline.add_component("documents", PoolfoldDocumentEmbedder(folder, meta_fields_to_embed=["title"]))
    saved = pipeline.dumps()
    assert Pipeline.loads(saved).dumps() == saved
    put_another()
    with pytest.raises(Exception, match="is not the artifact that was saved"):
        Pipeline.loads(saved).run({"documents": {"documents": [Document(content="w1")]}})


def test_the_artifact_is_opened_when_it_is_needed(folder: Path, put_another: Callable[[], None]):
    embedder = PoolfoldTextEmbedder(folder / "nothing here")
    with pytest.raises(ArtifactError):
        embedder.warm_up()
