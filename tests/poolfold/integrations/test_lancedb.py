from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector

from poolfold.integrations.lancedb import PoolfoldEmbeddings
from tests.poolfold.integrations.conftest import documents, queries

TEXTS = ["w1", "w2 w3", "w4"]


def table(folder: Path, place: Path) -> Any:
    function = get_registry().get("poolfold").create(str(folder))

    class Row(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # type: ignore[valid-type]

    made = lancedb.connect(place).create_table("t", schema=Row)
    made.add([{"text": text} for text in TEXTS])
    return made


def test_queries_and_documents(folder: Path):
    function = PoolfoldEmbeddings(folder)
    np.testing.assert_array_equal(function.compute_source_embeddings(TEXTS), documents(*TEXTS))
    np.testing.assert_array_equal(function.compute_query_embeddings("w1"), queries("w1"))
    first, none = function.compute_source_embeddings(["w1", None])
    np.testing.assert_array_equal(first, documents("w1")[0])
    assert none is None
    assert function == PoolfoldEmbeddings.create(folder)
    assert hash(function) == hash(PoolfoldEmbeddings.create(folder))


def test_a_table_that_is_opened_again_has_its_function(folder: Path, tmp_path: Path):
    table(folder, tmp_path / "db")
    opened = lancedb.connect(tmp_path / "db").open_table("t")
    np.testing.assert_array_equal(opened.to_arrow()["vector"].to_pylist(), documents(*TEXTS))
    opened.add([{"text": "w9"}])
    distances = ((documents(*TEXTS, "w9") - queries("w2")) ** 2).sum(axis=1)
    found = opened.search("w2").limit(4).to_list()
    assert [row["text"] for row in found] == [[*TEXTS, "w9"][i] for i in np.argsort(distances)]


def test_another_artifact_in_its_place_is_refused(folder: Path, tmp_path: Path, put_another: Callable[[], None]):
    table(folder, tmp_path / "db")
    put_another()
    with pytest.raises(Exception, match="is not the artifact that was saved"):
        lancedb.connect(tmp_path / "db").open_table("t").search("w2").to_list()


def test_options_are_saved(folder: Path, tmp_path: Path):
    function = PoolfoldEmbeddings.create(folder, encode_kwargs={"truncate_dim": 4}, query_prompt="", max_retries=2)
    assert function.ndims() == 4
    assert function.max_retries == 2
    again = PoolfoldEmbeddings.create(**function.safe_model_dump())
    np.testing.assert_array_equal(again.compute_query_embeddings("w1"), function.compute_query_embeddings("w1"))
    assert again.ndims() == 4
