"""The tables of docs/pooling.md are what was measured, and its text says what they say."""

from __future__ import annotations

import json

import pytest

from bench.docstrings import LIBRARIES, sentences
from bench.pooling_claims import BEGIN, DOCUMENT, END, RESULTS, STRATEGIES, block

FOUND = json.loads(RESULTS.read_text())


def test_the_document_shows_what_is_kept() -> None:
    kept = f"{BEGIN}\n\n{block(FOUND)}\n\n{END}"
    assert kept in DOCUMENT.read_text()
    changed = json.loads(RESULTS.read_text())
    changed["memory_mib"]["cls fp32"]["512"] += 100
    assert block(changed) not in DOCUMENT.read_text()


def test_the_claims_follow_from_the_numbers() -> None:
    times = {(row["system"], row["workload"]): row["latency_ms"]["median"] for row in FOUND["latency"]}
    ratios = [times["mean fp32", w] / times["cls fp32", w] for w in {w for _, w in times}]
    assert f"{min(ratios):.2f} to {max(ratios):.2f} times here" in DOCUMENT.read_text()
    memory = FOUND["memory_mib"]
    assert f"{memory['cls fp32']['512']:.0f} MiB for either" in DOCUMENT.read_text()
    assert round(memory["cls fp32"]["512"]) == round(memory["mean fp32"]["512"])
    assert memory["mean fp32"]["256"] < memory["pytorch fp32"]["256"]
    assert memory["mean fp32"]["512"] > memory["pytorch fp32"]["512"]
    for of in FOUND["quality"].values():
        best = max(of["strategies"], key=lambda name, of=of: of["strategies"][name][of["metric"]]["value"])
        level = {best, *(("distilled cls" if "distilled" in lead["over"] else lead["over"])
                         for lead in of["leads"] if not lead["significant"])}  # fmt: skip
        assert {"mean", "distilled cls"} <= level
        assert all(abs(of["fp16_costs"][name]["value"]) < 1e-3 for name in STRATEGIES)
    assert {lead["over"] for lead in FOUND["quality"]["pairs.tsv"]["leads"] if lead["significant"]} >= {"cls"}
    closeness = [FOUND["closeness"][name]["after"]["cosine"] for name in ("held-out texts", "texts", "many languages")]
    assert closeness == sorted(closeness, reverse=True)


@pytest.mark.slow
def test_docstrings_are_sentences_with_their_library() -> None:
    libraries = ("networkx", "datasets")
    found = sentences(libraries)
    assert len(found) > 1000
    assert len({sentence for sentence, _ in found}) == len(found)
    assert {library for _, library in found} == set(libraries) <= set(LIBRARIES)
    assert all(sentence.endswith(".") and 6 <= len(sentence.split()) <= 30 for sentence, _ in found)
    assert found == sentences(libraries)
