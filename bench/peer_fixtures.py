"""Fixtures in the place of sentence-transformers' own: our encoder, and a note of what each of their cases came to."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers

import poolfold

_MODEL = "sentence-transformers-testing/stsb-bert-tiny-safetensors"
BERT, ROBERTA, OUTCOMES = "POOLFOLD_PEER_BERT", "POOLFOLD_PEER_ROBERTA", "POOLFOLD_PEER_OUTCOMES"
"""Variables that name two artifacts, and the file of what was found."""
_NOTED: dict[str, dict[str, str]] = {}
_OURS: list[str] = []


@pytest.fixture
def stsb_bert_tiny_model() -> Iterator[poolfold.Encoder]:
    """Ours."""
    with poolfold.load(os.environ[BERT]) as encoder:
        yield encoder


@pytest.fixture
def paraphrase_distilroberta_base_v1_model() -> Iterator[poolfold.Encoder]:
    """Ours."""
    with poolfold.load(os.environ[ROBERTA]) as encoder:
        yield encoder


@pytest.fixture(autouse=True)
def a_model_by_its_name_is_ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test loads the tiny model itself; whatever else it makes is sentence-transformers'."""

    def load(model: Any = None, *positional: Any, **options: Any) -> Any:
        if model != _MODEL:
            return sentence_transformers.SentenceTransformer(model, *positional, **options)
        encoder = poolfold.load(os.environ[BERT])
        for name in ("truncate_dim", "similarity_fn_name", "default_prompt_name"):
            if name in options:
                setattr(encoder, name, options[name])
        if "prompts" in options:
            encoder.prompts = {**encoder.prompts, **options["prompts"]}
        return encoder

    if hasattr(request.module, "SentenceTransformer"):
        monkeypatch.setattr(request.module, "SentenceTransformer", load)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note an outcome; of a case that failed before it began, that."""
    file, _, case = report.nodeid.removeprefix("tests/").partition("::")
    of_file = _NOTED.setdefault(file, {})
    if (report.when == "call" or report.outcome != "passed") and of_file.get(case) != "failed":
        of_file[case] = report.outcome


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note which cases have one of our encoders; the others test sentence-transformers' own classes."""
    for item in items:
        names = getattr(item, "fixturenames", [])
        function = getattr(item, "function", None)
        by_name = function is not None and _MODEL in inspect.getsource(function)
        if by_name or {"stsb_bert_tiny_model", "paraphrase_distilroberta_base_v1_model"} & set(names):
            _OURS.append(item.nodeid.removeprefix("tests/"))


def pytest_sessionfinish() -> None:
    """Hand over what was noted."""
    Path(os.environ[OUTCOMES]).write_text(json.dumps({"outcomes": _NOTED, "ours": _OURS}))
