"""The list of deliberate faults fits the source, and the script tells a fault that is caught from one that is not."""

from __future__ import annotations

import dataclasses

import pytest

from tests import faults
from tests.fault_list import FAULTS, Fault

POSITIONS = next(fault for fault in FAULTS if fault.name == "token_positions off by one")


def test_the_text_of_every_fault_occurs_once() -> None:
    assert faults.wrong_anchors(FAULTS) == []


def test_a_text_that_is_gone_and_one_that_occurs_often_are_named() -> None:
    gone = dataclasses.replace(POSITIONS, before="no such text")
    often = dataclasses.replace(POSITIONS, name="other", before="is_token")
    assert faults.wrong_anchors([gone, often]) == [
        f"{gone.name}: 'no such text' occurs 0 times in {gone.file}",
        f"other: 'is_token' occurs 3 times in {gone.file}",
    ]


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        (POSITIONS.before, POSITIONS.after, "caught"),
        ("np.flatnonzero(is_token)", "np.flatnonzero(is_token == 1)", "survived"),
        ("import numpy as np", "import numpy as", "broken"),
    ],
)
def test_a_fault_is_caught_a_harmless_change_survives_and_a_syntax_error_is_neither(
    before: str, after: str, result: str
) -> None:
    row = faults.try_fault(Fault("any", POSITIONS.file, before, after, POSITIONS.tests))
    assert (row.command is not None, bool(row.error)) == (result == "caught", result == "broken")
    assert row.test.startswith("tests/poolfold/sessions/test_packing.py") == (result == "caught")
