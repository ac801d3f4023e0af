"""Retrieval with smaller vectors, against the ranks that sentence-transformers' own bytes give."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from sentence_transformers import quantize_embeddings

from exporter.comparison import small_index
from exporter.comparison.quality import quality
from exporter.comparison.resampling import DRAWS, resample
from exporter.comparison.small_index import small_indexes
from exporter.comparison.tasks import Retrieval
from poolfold.encoder import Ranges

QUERIES, DOCUMENTS, DIM, METRIC = 40, 160, 24, "ndcg@10"


@pytest.fixture(scope="module")
def data() -> tuple[Retrieval, np.ndarray]:
    """A query's two documents lie near it, so that some are found and some are not."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(DOCUMENTS, DIM))
    queries = documents[:QUERIES] + documents[QUERIES : 2 * QUERIES] + rng.normal(size=(QUERIES, DIM))
    vectors = np.concatenate([queries, documents]).astype(np.float32)
    relevant = {f"q{i}": {f"d{i}": 1, f"d{i + QUERIES}": 2} for i in range(QUERIES)}
    texts = {f"d{i}": f"document {i}" for i in range(DOCUMENTS)}
    return Retrieval({f"q{i}": f"query {i}" for i in range(QUERIES)}, texts, relevant), vectors


def ndcg(task: Retrieval, similar: np.ndarray) -> float:
    run = {
        q: dict(zip(task.documents, row.tolist(), strict=True)) for q, row in zip(task.queries, similar, strict=True)
    }
    results = pytrec_eval.RelevanceEvaluator(task.relevant, {"ndcg_cut.10"}).evaluate(run)
    return float(np.mean([of["ndcg_cut_10"] for of in results.values()]))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def found(
    task: Retrieval, vectors: np.ndarray, ranges: Ranges | None
) -> dict[tuple[str, bool], small_index.SmallIndex]:
    exact = resample({"float32": quality(task, vectors, vectors)}, METRIC, count=DRAWS)["float32"]
    return {(of.precision, of.rescored): of for of in small_indexes(task, vectors, ranges, METRIC, exact)}


def test_values_are_those_of_the_bytes(data, monkeypatch):
    monkeypatch.setattr(small_index, "RESCORED", 15)
    task, vectors = data
    got = found(task, vectors, Ranges.of(vectors))
    ranges = Ranges.of(vectors).of_first(DIM, unit=False)
    eight = unit(quantize_embeddings(vectors, precision="int8", ranges=ranges).astype(np.float64))
    bits = np.unpackbits(quantize_embeddings(vectors, precision="ubinary"), axis=1)[:, :DIM]
    hamming = (bits[:QUERIES, None] != bits[None, QUERIES:]).sum(axis=2)
    firsts = {"int8": eight[:QUERIES] @ eight[QUERIES:].T, "binary": -hamming.astype(np.float64)}
    small = {"int8": eight[QUERIES:], "binary": unit(bits[QUERIES:] * 2.0 - 1)}
    exact = ndcg(task, unit(vectors[:QUERIES].astype(np.float64)) @ unit(vectors[QUERIES:].astype(np.float64)).T)
    for precision, first in firsts.items():
        again = unit(vectors[:QUERIES].astype(np.float64)) @ small[precision].T
        kept = np.argsort(-first, axis=1, kind="stable")[:, :15]
        rescored = np.full_like(first, -9.0)
        np.put_along_axis(rescored, kept, np.take_along_axis(again, kept, axis=1), axis=1)
        for is_rescored, similar in ((False, first), (True, rescored)):
            index = got[precision, is_rescored]
            assert index.value.value == pytest.approx(ndcg(task, similar), abs=1e-12)
            assert index.against.value == pytest.approx(ndcg(task, similar) - exact, abs=1e-12)
            assert index.against.low <= index.against.value <= index.against.high
            assert index.bytes == {"int8": DIM, "binary": DIM // 8}[precision]


def test_bits_cost_and_ranking_again_gets_some_of_it_back(data):
    task, vectors = data
    got = found(task, vectors, Ranges.of(vectors))
    assert got["binary", False].against.high < 0
    assert got["binary", False].value.value < got["binary", True].value.value
    assert abs(got["int8", True].against.value) < abs(got["binary", True].against.value)


def test_an_artifact_without_ranges_has_no_int8(data):
    assert {precision for precision, _ in found(*data, None)} == {"binary"}
