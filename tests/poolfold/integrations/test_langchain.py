from __future__ import annotations

import asyncio
import pickle  # noqa: TID251  # what is under test
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.vectorstores import InMemoryVectorStore

from poolfold import ArtifactError
from poolfold.integrations.langchain import PoolfoldEmbeddings
from tests.poolfold.integrations.conftest import documents, queries


def again(saved: str) -> PoolfoldEmbeddings:
    loaded = loads(saved, allowed_objects=[PoolfoldEmbeddings], valid_namespaces=["poolfold"])
    assert isinstance(loaded, PoolfoldEmbeddings)
    return loaded


def test_queries_and_documents(folder: Path):
    embeddings = PoolfoldEmbeddings(folder)
    assert embeddings.embed_documents(["w1", "w2"]) == documents("w1", "w2").tolist()
    assert embeddings.embed_query("w1") == queries("w1")[0].tolist()
    assert embeddings.embed_documents([]) == []


def test_without_blocking(folder: Path):
    embeddings = PoolfoldEmbeddings(folder)
    assert asyncio.run(embeddings.aembed_documents(["w1", "w2"])) == documents("w1", "w2").tolist()
    assert asyncio.run(embeddings.aembed_query("w1")) == queries("w1")[0].tolist()


def test_a_vector_store_finds_what_is_nearest(folder: Path):
    texts = [f"w{i}" for i in range(20)]
    store = InMemoryVectorStore.from_documents(
        [Document(page_content=text) for text in texts], PoolfoldEmbeddings(folder)
    )
    likest = (queries("w5") @ documents(*texts).T / ((documents(*texts) ** 2).sum(axis=1) ** 0.5)).argmax()
    assert store.similarity_search("w5", k=1)[0].page_content == texts[int(likest)]


def test_saved_and_loaded(folder: Path):
    embeddings = PoolfoldEmbeddings(folder, query_prompt="", encode_kwargs={"truncate_dim": 4})
    for loaded in (again(dumps(embeddings)), pickle.loads(pickle.dumps(embeddings))):
        assert loaded.embed_query("w1") == embeddings.embed_query("w1")
        assert len(loaded.embed_query("w1")) == 4


def test_loaded_with_this_model_and_no_other(folder: Path, put_another: Callable[[], None]):
    saved = dumps(PoolfoldEmbeddings(folder))
    put_another()
    with pytest.raises(ArtifactError, match="is not the artifact that was saved"):
        again(saved)
