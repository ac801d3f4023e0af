"""Tasks of MTEB's own kinds, with a few texts of this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.types import PromptType
from scipy.stats import spearmanr

from poolfold.integrations.mteb import PoolfoldModel
from tests.poolfold.integrations.conftest import documents, expected, queries

PAIRS = [("w1", "w1 w2"), ("w3", "w4"), ("w5 w6", "w6"), ("w7", "w8 w9"), ("w2", "w3")]
SCORES = [5.0, 1.0, 4.0, 2.0, 0.5]


def metadata(name: str, kind: str, score: str, **more: Any) -> TaskMetadata:
    return TaskMetadata(
        dataset={"path": "here", "revision": "1"},
        name=name,
        description="a few texts",
        type=kind,
        eval_langs=["eng-Latn"],
        main_score=score,
        **more,
    )


class Pairs(AbsTaskSTS):
    metadata = metadata("Pairs", "STS", "cosine_spearman", prompt="w5 w6")

    def load_data(self, **_: Any) -> None:
        first, second = zip(*PAIRS, strict=True)
        columns = {"sentence1": first, "sentence2": second, "score": SCORES}
        self.dataset, self.data_loaded = {"test": Dataset.from_dict(columns)}, True


class Search(AbsTaskRetrieval):
    metadata = metadata("Search", "Retrieval", "ndcg_at_10")

    def load_data(self, **_: Any) -> None:
        self.corpus = {"test": {f"d{i}": {"title": "", "text": f"w{i}"} for i in range(9)}}
        self.queries = {"test": {f"q{i}": f"w{i}" for i in range(9)}}
        self.relevant_docs = {"test": {f"q{i}": {f"d{i}": 1} for i in range(9)}}
        self.data_loaded = True


def alike(one: Any, other: Any) -> Any:
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_pairs_are_scored_by_the_artifacts_vectors(folder: Path):
    result = mteb.evaluate(PoolfoldModel(folder), Pairs(), cache=None, show_progress_bar=False)
    first, second = (expected(list(texts)) for texts in zip(*PAIRS, strict=True))
    assert result.task_results[0].get_score() == pytest.approx(spearmanr(alike(first, second), SCORES).statistic)
    assert result.model_name == "tests/table"
    assert result.model_revision == PoolfoldModel(folder)._embedder.config["identity"]


def test_retrieval_has_prompts_for_queries_and_documents(folder: Path):
    result = mteb.evaluate(PoolfoldModel(folder), Search(), cache=None, show_progress_bar=False)
    texts = [f"w{i}" for i in range(9)]
    one, other = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (queries(*texts), documents(*texts))
    )
    scores = one @ other.T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
    assert result.task_results[0].get_score() == pytest.approx((1 / np.log2(ranks + 2)).mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("options", "kind", "prompt"),
    [
        ({}, PromptType.query, "w7 "),
        ({}, PromptType.document, "w8 w9 "),
        ({}, None, ""),
        ({"query_prompt": "w3 "}, PromptType.query, "w3 "),
        ({"prompts": {"Pairs": "w1 "}}, PromptType.query, "w1 "),
        ({"prompts": {"STS-query": "w2 "}}, PromptType.query, "w2 "),
        ({"prompts": {"STS-query": "w2 "}}, PromptType.document, "w8 w9 "),
        ({"instruction_template": "w1 {instruction} w2 "}, PromptType.query, "w1 w5 w6 w2 "),
        ({"instruction_template": "w1 {instruction} w2 "}, PromptType.document, ""),
        (
            {"instruction_template": "{instruction} ", "instruct_documents": True},
            PromptType.document,
            "w5 w6 ",
        ),
    ],
)
def test_the_prompt_of_a_task(folder: Path, options: dict[str, Any], kind: PromptType | None, prompt: str):
    model = PoolfoldModel(folder, **options)
    made = model.encode(
        [{"text": ["w4"]}, {"text": ["w5"]}],
        task_metadata=Pairs.metadata,
        hf_split="test",
        hf_subset="default",
        prompt_type=kind,
    )
    np.testing.assert_array_equal(made, expected([f"{prompt}w4", f"{prompt}w5"]))
