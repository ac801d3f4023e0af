"""The rules: never a winner, nor a tie, that the intervals do not support, and no trade on what is not settled."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from exporter.comparison.recommendation import Timed, Verdict, decide, keep_trained
from exporter.comparison.resampling import AHEAD, LEVEL, NOT_SETTLED, Interval, Lead
from exporter.measure.quartiles import Quartiles

MARGIN = 0.01
WHAT = "16 texts of 128 tokens"


def timed(**milliseconds: float) -> Timed:
    return Timed(WHAT, {name: Quartiles(ms * 0.99, ms, ms * 1.01) for name, ms in milliseconds.items()})


TIMED = timed(cls=8.0, mean=10.0, max=12.0)


def lead(over: str, outcome: str) -> Lead:
    value, low, high = {
        AHEAD: (0.2, 0.1, 0.3), LEVEL: (0.001, -0.003, 0.005), "real": (0.004, 0.001, 0.007),
        NOT_SETTLED: (0.02, -0.05, 0.09),
    }[outcome]  # fmt: skip
    outcome = LEVEL if outcome == "real" else outcome
    return Lead(over, Interval(value, low, high), 0.01, low > 0, outcome, 240 if outcome == NOT_SETTLED else None)


def verdict(best: str, outcomes: Mapping[str, str], trained: str | None = "mean", times: Timed = TIMED) -> Verdict:
    leads = [lead(over, outcome) for over, outcome in outcomes.items()]
    untrained = [name for name in (best, *outcomes) if name != trained]
    unit = ("pair", "pairs")
    return decide("spearman", best, leads, trained, times, untrained=untrained, margin=MARGIN, unit=unit)


def said(found: Verdict) -> str:
    return " ".join(found.reasons)


def trades(found: Verdict) -> bool:
    return bool(re.search(r"\bms\b|fast|speed|[0-9]x\)", said(found)))


@pytest.mark.parametrize("best", ["cls", "mean", "max"])
def test_who_is_ahead_of_all_is_taken_trained_or_not(best: str) -> None:
    others = [name for name in ("cls", "mean", "max") if name != best]
    found = verdict(best, dict.fromkeys(others, AHEAD))
    assert (found.recommended, found.best, found.outcome, found.significant) == (best, best, AHEAD, True)
    shown = " and ".join(f"{name} by +0.2000 [+0.1000, +0.3000]" for name in others)
    assert f"On spearman {best} is ahead of {shown}." in said(found)


def test_of_those_that_are_level_the_trained_one_is_taken_and_the_faster_one_offered() -> None:
    found = verdict("cls", {"mean": LEVEL, "max": AHEAD})
    assert (found.recommended, found.outcome, found.significant) == ("mean", LEVEL, False)
    assert "cls is level with mean (+0.0010 [-0.0030, +0.0050]): wholly within the margin of 0.01." in said(found)
    assert f"mean takes 10.0 ms for {WHAT}, cls 8.0 ms (1.25x): where speed counts, take cls." in said(found)


def test_a_real_lead_within_the_margin_is_said_to_be_both() -> None:
    found = verdict("cls", {"mean": "real"})
    assert (found.recommended, found.outcome, found.significant) == ("mean", LEVEL, False)
    assert "Its lead over mean is real, and less than the margin." in said(found)
    assert verdict("mean", {"cls": "real"}).significant is True


def test_where_the_trained_one_is_behind_the_fastest_of_the_level_is_taken() -> None:
    found = verdict("max", {"cls": LEVEL, "mean": AHEAD})
    assert (found.recommended, found.significant) == ("cls", False)
    assert "Of those that are level, cls is taken: it is the fastest." in said(found)


@pytest.mark.parametrize("times", [Timed(), timed(max=12.0), timed(cls=11.9, max=12.0)])
def test_nothing_is_called_fastest_that_was_not_clearly_measured_to_be(times: Timed) -> None:
    found = verdict("max", {"cls": LEVEL, "mean": AHEAD}, times=times)
    assert found.recommended == "max"
    assert "none of those that are level is known to be faster" in said(found)
    assert "x)" not in said(found)


@pytest.mark.parametrize("others", [{"mean": NOT_SETTLED}, {"mean": NOT_SETTLED, "max": LEVEL}])
def test_what_is_not_settled_is_neither_level_nor_traded(others: Mapping[str, str]) -> None:
    found = verdict("cls", others)
    assert (found.recommended, found.outcome, found.significant, found.more) == ("mean", NOT_SETTLED, False, 240)
    assert (
        "These data do not settle which of cls and mean is better on spearman: cls has +0.0200 [-0.0500, +0.0900]"
        in (said(found))
    )
    assert "About 240 more pairs would, were the difference to stay the same." in said(found)
    assert "mean stays: the model was trained with it." in said(found)
    assert not trades(found)
    # The control: the same numbers, settled, are traded.
    assert trades(verdict("cls", {"mean": LEVEL}))


def test_where_the_trained_one_is_behind_and_the_rest_not_settled_the_best_is_taken_for_its_value() -> None:
    found = verdict("max", {"cls": NOT_SETTLED, "mean": AHEAD})
    assert (found.recommended, found.outcome) == ("max", NOT_SETTLED)
    assert "max is taken for its value here, and for nothing else." in said(found)
    assert not trades(found)


def test_what_is_faster_and_worse_is_said_to_be_both() -> None:
    found = verdict("mean", {"cls": AHEAD, "max": AHEAD})
    assert said(found).endswith(f"mean takes 10.0 ms for {WHAT}, cls 8.0 ms (1.25x).")


def test_texts_without_labels_decide_nothing() -> None:
    found = keep_trained("mean", {"cls": Interval(0.4, 0.3, 0.5)}, MARGIN)
    assert (found.recommended, found.outcome, found.significant, found.metric) == ("mean", None, False, None)
    assert "Of each text's ten nearest neighbours by mean, cls finds 40%." in said(found)
    assert not re.search("significant|decides|level|ahead", said(found))
    assert "neighbours" not in said(keep_trained("mean", {}, MARGIN))


def test_one_strategy_alone_leads_nothing() -> None:
    found = verdict("mean", {})
    assert (found.recommended, found.outcome, found.significant) == ("mean", None, False)
    assert said(found) == "The model was trained with mean. mean is the only strategy compared."


def test_a_model_that_does_not_say_how_it_was_trained() -> None:
    found = verdict("mean", {"cls": LEVEL}, trained=None)
    assert found.recommended == "cls"
    assert "Which strategy the model was trained with is not known" in said(found)
