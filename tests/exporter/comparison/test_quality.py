"""Metrics against the field's own evaluators on the same vectors, and against values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SimilarityFunction
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    TripletEvaluator,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, v_measure_score
from sklearn.model_selection import StratifiedKFold

from exporter.comparison.quality import Matrix, quality
from exporter.comparison.read_task import read_task
from exporter.comparison.tasks import Labelled, Pairs, Retrieval, Task, Texts, Triplets
from poolfold.errors import InputError

TOLERANCE = 1e-6


class Vectors(torch.nn.Module):
    """Stands where the evaluators expect a model: each text's vector is known."""

    similarity_fn_name = SimilarityFunction.COSINE

    def __init__(self, texts: tuple[str, ...], vectors: Matrix) -> None:
        super().__init__()
        self._of = dict(zip(texts, vectors, strict=True))
        self.model_card_data = self
        self.prompts: dict[str, str] = {}

    def set_evaluation_metrics(self, *_: Any, **__: Any) -> None: ...

    def encode(self, sentences: list[str], convert_to_tensor: bool = False, **_: Any) -> Any:
        found = np.array([self._of[sentence] for sentence in sentences])
        return torch.tensor(found) if convert_to_tensor else found

    encode_query = encode_document = encode

    def similarity(self, a: Any, b: Any) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.as_tensor(a)) @ torch.nn.functional.normalize(torch.as_tensor(b)).T


def vectors(count: int, dim: int = 6, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def measured(task: Task, rows: Matrix) -> dict[str, float]:
    found = quality(task, rows, rows)
    every = np.arange(found.units)
    return {name: metric(every) for name, metric in found.metrics.items()}


@pytest.mark.parametrize("seed", range(5))
def test_pairs_agree_with_sentence_transformers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = tuple(f"a{i}" for i in range(40)), tuple(f"b{i}" for i in range(40))
    rows = vectors(80, seed=seed)
    # Ties in the scores, as people's data have them.
    scores = tuple(float(score) for score in rng.integers(0, 6, 40))
    found = measured(Pairs(first, second, scores), rows)
    model: Any = Vectors((*first, *second), rows)
    theirs = EmbeddingSimilarityEvaluator(list(first), list(second), list(scores), main_similarity="cosine")(model)
    assert found["spearman"] == pytest.approx(theirs["spearman_cosine"], abs=TOLERANCE)
    assert found["pearson"] == pytest.approx(theirs["pearson_cosine"], abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("documents", [20, 400])
def test_retrieval_agrees_with_sentence_transformers(seed: int, documents: int) -> None:
    rng = np.random.default_rng(seed)
    queries = {f"q{i}": f"query {i}" for i in range(15)}
    corpus = {f"d{i}": f"document {i}" for i in range(documents)}
    relevant = {q: {str(d): 1 for d in rng.choice(list(corpus), rng.integers(1, 6), replace=False)} for q in queries}
    rows = vectors(15 + documents, seed=seed)
    found = measured(Retrieval(queries, corpus, relevant), rows)
    model: Any = Vectors((*queries.values(), *corpus.values()), rows)
    theirs = InformationRetrievalEvaluator(
        queries, corpus, {q: set(d) for q, d in relevant.items()}, accuracy_at_k=[1, 3, 10],
        precision_recall_at_k=[10, 100], ndcg_at_k=[10], mrr_at_k=[10], map_at_k=[10], main_score_function="cosine",
    )(model)  # fmt: skip
    theirs = {name.rsplit("_", 1)[-1]: value for name, value in theirs.items()}
    for name in ("ndcg@10", "mrr@10", "accuracy@1", "accuracy@3", "accuracy@10", "recall@10", "recall@100"):
        assert found[name] == pytest.approx(theirs[name], abs=TOLERANCE), name


@pytest.mark.parametrize("seed", range(5))
def test_questions_and_answers_agree_with_sentence_transformers(seed: int, tmp_path: Path) -> None:
    # Twenty questions, some asked twice; twelve answers, most of them given to several.
    rng = np.random.default_rng(seed)
    rows = [(f"question {rng.integers(20)}", f"answer {rng.integers(12)}") for _ in range(40)]
    path = tmp_path / "faq.tsv"
    path.write_text("question\tanswer\n" + "".join(f"{question}\t{answer}\n" for question, answer in rows))
    task = read_task(str(path))
    assert isinstance(task, Retrieval)
    asked, answers = sorted({question for question, _ in rows}), sorted({answer for _, answer in rows})
    vector = dict(zip((*asked, *answers), vectors(len(asked) + len(answers), seed=seed), strict=True))
    found = measured(task, np.array([vector[text] for part in task.parts for text in part.texts]))
    model: Any = Vectors(tuple(vector), np.array(list(vector.values())))
    relevant = {question: {answer for asked, answer in rows if asked == question} for question in asked}
    theirs = InformationRetrievalEvaluator(
        {text: text for text in asked}, {text: text for text in answers}, relevant, accuracy_at_k=[1, 3, 10],
        precision_recall_at_k=[10], ndcg_at_k=[10], mrr_at_k=[10], map_at_k=[10], main_score_function="cosine",
    )(model)  # fmt: skip
    theirs = {name.rsplit("_", 1)[-1]: value for name, value in theirs.items()}
    for name in ("ndcg@10", "mrr@10", "accuracy@1", "accuracy@3", "accuracy@10", "recall@10"):
        assert found[name] == pytest.approx(theirs[name], abs=TOLERANCE), name


@pytest.mark.parametrize("seed", range(5))
def test_triplets_agree_with_sentence_transformers(seed: int) -> None:
    anchors, positives, negatives = named = [tuple(f"{kind}{i}" for i in range(40)) for kind in "apn"]
    rows = vectors(120, seed=seed)
    rows[40:80] += rows[:40] * 0.3
    found = measured(Triplets(anchors, positives, negatives), rows)
    model: Any = Vectors(tuple(text for texts in named for text in texts), rows)
    theirs = TripletEvaluator(*(list(texts) for texts in named), main_similarity_function="cosine")(model)
    assert found == {"accuracy": pytest.approx(theirs["cosine_accuracy"], abs=TOLERANCE)}
    assert 0.5 < found["accuracy"] < 1


def test_graded_relevance_counts() -> None:
    queries, corpus = {"q": "q"}, {"a": "a", "b": "b", "c": "c"}
    rows = np.array([[1, 0], [1, 0.1], [1, 0.5], [0, 1]], np.float32)  # a, then b, then c
    found = measured(Retrieval(queries, corpus, {"q": {"b": 2, "c": 1}}), rows)
    ideal = 2 / np.log2(2) + 1 / np.log2(3)
    assert found["ndcg@10"] == pytest.approx((2 / np.log2(3) + 1 / np.log2(4)) / ideal, abs=TOLERANCE)
    assert found["mrr@10"] == pytest.approx(1 / 2)


@pytest.mark.slow
def test_labels_agree_with_scikit_learn_fold_by_fold() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    rows = (vectors(60) + np.eye(3, 6)[labels] * 2).astype(np.float32)
    task = Labelled(tuple(f"t{i}" for i in range(60)), tuple("abc"[label] for label in labels))
    found = measured(task, rows)
    predicted = np.empty(60, int)
    data = rows.astype(np.float64)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=42).split(data, labels):
        predicted[test] = (
            LogisticRegression(max_iter=1000, random_state=42).fit(data[train], labels[train]).predict(data[test])
        )
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=TOLERANCE)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=TOLERANCE)


@pytest.mark.slow
def test_clusters_agree_with_those_of_mteb() -> None:
    # What MTEB's clustering evaluator does with vectors and labels.
    from sklearn.cluster import MiniBatchKMeans

    labels = np.repeat([0, 1, 2, 3], 15)
    rows = (vectors(60) + np.eye(4, 6)[labels] * 2).astype(np.float32)
    task = Labelled(tuple(f"t{i}" for i in range(60)), tuple("abcd"[label] for label in labels))
    theirs = MiniBatchKMeans(4, batch_size=500, n_init="auto", random_state=42).fit(rows.astype(np.float64)).labels_
    assert measured(task, rows)["v_measure"] == pytest.approx(v_measure_score(labels, theirs), abs=TOLERANCE)


def test_perfect_and_useless_vectors() -> None:
    labels = np.repeat([0, 1], 20)
    task = Labelled(tuple(f"t{i}" for i in range(40)), tuple("ab"[label] for label in labels))
    assert measured(task, (np.eye(2, 6)[labels] * 9 + vectors(40) * 0.1).astype(np.float32)) == pytest.approx(
        {"accuracy": 1, "macro_f1": 1, "v_measure": 1}
    )
    useless = measured(task, vectors(40, seed=3))
    assert useless["accuracy"] < 0.8
    assert useless["v_measure"] < 0.3


def test_bare_texts_by_their_definitions() -> None:
    texts = tuple(f"{i} {i}" for i in range(30))
    rows, reference = vectors(90, seed=1), vectors(90, seed=2)
    found = quality(Texts(texts), rows, reference)
    values = {name: metric(np.arange(30)) for name, metric in found.metrics.items()}
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    theirs = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(30) for j in range(30) if i != j]
    assert values["anisotropy"] == pytest.approx(np.mean([unit[i] @ unit[j] for i, j in pairs]), abs=TOLERANCE)
    apart = [np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)) for i, j in pairs]
    assert values["uniformity"] == pytest.approx(np.log(np.mean(apart)), abs=TOLERANCE)
    halves = np.mean(np.sum((unit[30:60] - unit[60:]) ** 2, axis=1))
    assert values["alignment"] == pytest.approx(halves, abs=TOLERANCE)

    def nearest(of: Any, i: int) -> set[int]:
        return set(sorted((j for j in range(30) if j != i), key=lambda j: -(of[i] @ of[j]))[:10])

    shared = [len(nearest(unit, i) & nearest(theirs, i)) / 10 for i in range(30)]
    assert values["agreement"] == pytest.approx(np.mean(shared), abs=TOLERANCE)
    assert quality(Texts(texts), rows, rows).metrics["agreement"](np.arange(30)) == 1


def test_more_rows_than_a_block_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, rows = Texts(tuple(f"{i} {i}" for i in range(50))), vectors(150)
    task = Retrieval(
        {f"q{i}": "q" for i in range(9)}, {f"d{i}": "d" for i in range(41)}, {f"q{i}": {f"d{i}": 1} for i in range(9)}
    )
    whole = measured(texts, rows), measured(task, rows[:50])
    monkeypatch.setattr("exporter.comparison.quality._BLOCK", 7)
    assert (measured(texts, rows), measured(task, rows[:50])) == (pytest.approx(whole[0]), pytest.approx(whole[1]))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_the_length_of_vectors_changes_no_similarity(factor: float, seed: int) -> None:
    rows = vectors(60, seed=seed)
    longer = (rows * factor * np.linspace(1, 2, 60)[:, None]).astype(np.float32)
    texts = tuple(f"a{i}" for i in range(30))
    task = Pairs(texts, texts, tuple(float(i % 7) for i in range(30)))
    assert measured(task, longer) == pytest.approx(measured(task, rows), abs=1e-3)


def test_vectors_that_say_nothing_score_nothing() -> None:
    texts = tuple(f"a{i}" for i in range(10))
    task = Pairs(texts, texts, tuple(float(i) for i in range(10)))
    assert measured(task, np.ones((20, 4), np.float32)) == {"spearman": 0.0, "pearson": 0.0}


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (Pairs(("a",) * 10, ("b",) * 10, (1.0,) * 10), "every pair has the same score"),
        (Labelled(("a",) * 10, ("x",) * 10), "got only x"),
        (Labelled(("a",) * 10, ("x",) * 9 + ("y",)), "got one text only of y"),
    ],
)
def test_data_that_cannot_be_measured_are_refused(task: Task, says: str, tmp_path: Path) -> None:
    rows = vectors(sum(len(part.texts) for part in task.parts))
    with pytest.raises(InputError, match=says):
        quality(task, rows, rows)
