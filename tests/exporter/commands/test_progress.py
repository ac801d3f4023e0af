"""Progress of whole commands on a terminal: one bar at a time, whichever process draws it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.terminal import HIDES_CURSOR, SHOWS_CURSOR, most_bars_at_once, on_terminal, plain


@pytest.mark.e2e
def test_an_export_shows_one_bar_at_a_time_and_none_when_quiet(checkpoint: Path, tmp_path: Path) -> None:
    export = ["-m", "poolfold", "export", str(checkpoint), "--skip-latency", "-o"]
    said = on_terminal([*export, str(tmp_path / "a")], 80)
    assert most_bars_at_once(said) == 1
    stages = ["export", "read", "trace", "reference", "graphs", "validate", "publish"]
    assert [stage for stage in stages if f"{stage:<10} ━" in plain(said)] == stages
    assert on_terminal([*export, str(tmp_path / "b"), "-q"], 80) == ""


def test_two_bars_at_once_are_found() -> None:
    assert most_bars_at_once(HIDES_CURSOR + SHOWS_CURSOR + HIDES_CURSOR + SHOWS_CURSOR) == 1
    assert most_bars_at_once(HIDES_CURSOR + HIDES_CURSOR + SHOWS_CURSOR + SHOWS_CURSOR) == 2
