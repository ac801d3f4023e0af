"""The rules: never a winner that the intervals do not support."""

from __future__ import annotations

import pytest

from exporter.comparison.recommendation import Verdict, decide
from exporter.comparison.resampling import Interval, Lead

MILLISECONDS = {"cls": 8.0, "mean": 10.0, "max": 12.0}


def verdict(
    values: dict[str, float],
    significant: dict[str, bool],
    trained: str | None = "mean",
    milliseconds: dict[str, float] = MILLISECONDS,
    labelled: bool = True,
) -> Verdict:
    best = max(values, key=lambda name: values[name])
    leads = [
        Lead(name, Interval(values[best] - values[name], 0.0, 0.2), 0.01 if ahead else 0.4, ahead)
        for name, ahead in significant.items()
    ]
    shown = {name: Interval(value, value - 0.1, value + 0.1) for name, value in values.items()}
    untrained = [name for name in values if name != trained]
    return decide("spearman", shown, leads, trained, milliseconds, untrained=untrained, labelled=labelled)


def said(found: Verdict) -> str:
    return " ".join(found.reasons)


@pytest.mark.parametrize("best", ["cls", "mean", "max"])
def test_a_significant_lead_over_all_wins_trained_or_not(best: str) -> None:
    others = [name for name in MILLISECONDS if name != best]
    found = verdict({best: 0.9, others[0]: 0.7, others[1]: 0.6}, dict.fromkeys(others, True))
    assert (found.recommended, found.best, found.significant) == (best, best, True)
    assert f"{best} leads significantly on spearman: +0.2000" in said(found)


def test_without_a_significant_lead_the_trained_one_is_taken() -> None:
    found = verdict({"cls": 0.9, "mean": 0.88, "max": 0.5}, {"mean": False, "max": True})
    assert (found.recommended, found.best, found.significant) == ("mean", "cls", False)
    assert "no significant difference on spearman between cls and mean" in said(found)
    assert "Significantly behind cls: max by +0.4000" in said(found)
    assert "1.25 times as long as cls; cls is level with it" in said(found)


def test_where_the_trained_one_is_behind_the_fastest_of_the_level_is_taken() -> None:
    found = verdict({"max": 0.9, "cls": 0.89, "mean": 0.5}, {"cls": False, "mean": True})
    assert (found.recommended, found.significant) == ("cls", False)
    assert "the fastest of those that are level" in said(found)


def test_nothing_is_called_fastest_that_was_not_timed() -> None:
    found = verdict({"max": 0.9, "cls": 0.89, "mean": 0.5}, {"cls": False, "mean": True}, milliseconds={})
    assert "fast" not in said(found)


def test_a_tie_is_no_win() -> None:
    found = verdict({"cls": 0.9, "mean": 0.9}, {"mean": False})
    assert (found.recommended, found.significant) == ("mean", False)


def test_what_is_faster_and_worse_is_said_to_be_both() -> None:
    found = verdict({"mean": 0.9, "cls": 0.7, "max": 0.6}, {"cls": True, "max": True})
    assert "mean takes 10.0 ms a batch, 1.25 times as long as cls; cls is 0.2000 behind it." in said(found)


def test_texts_without_labels_recommend_what_was_trained() -> None:
    found = verdict({"mean": 1.0, "cls": 0.4}, {"cls": True}, labelled=False)
    assert (found.recommended, found.significant) == ("mean", False)
    assert "no labels" in said(found)
    assert "cls 40%" in said(found)


def test_one_strategy_alone_leads_nothing() -> None:
    found = verdict({"mean": 1.0}, {})
    assert (found.recommended, found.significant) == ("mean", False)


def test_a_model_that_does_not_say_how_it_was_trained() -> None:
    found = verdict({"mean": 0.9, "cls": 0.89}, {"cls": False}, trained=None)
    assert found.recommended == "cls"
    assert "None of the strategies compared is known" in said(found)
