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
        # Between the mean and its student nothing is settled: neither above zero nor within 0.01.
        best = max(of["strategies"], key=lambda name, of=of: of["strategies"][name][of["metric"]]["value"])
        of_best = {lead["over"]: lead["difference"] for lead in of["leads"]}
        for name in {"mean", "distilled cls"} - {best}:
            lead = next(value for over, value in of_best.items() if name.split()[0] in over)
            assert lead["low"] <= 0 < 0.01 < lead["high"]
        assert all(abs(of["fp16_costs"][name]["value"]) < 1e-3 for name in STRATEGIES)
    (over_cls,) = (lead["difference"] for lead in FOUND["quality"]["pairs.tsv"]["leads"] if lead["over"] == "cls")
    said = f"+{over_cls['value']:.3f} [{over_cls['low']:+.3f}, {over_cls['high']:+.3f}]"
    assert f"ahead of [CLS] off the shelf by {said}" in " ".join(DOCUMENT.read_text().split())
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
