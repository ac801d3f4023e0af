"""What reaches the terminal: results on stdout, narration on stderr, and every text as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from exporter.host import console as console_module
from exporter.host.console import Console, Stage, count
from tests.terminal import most_bars_at_once, on_terminal, plain

HOSTILE = "[red]a[/red] [/] [/b] :smile: C:\\[x] \\"
"""Brackets, backslashes and colons that a markup language would swallow, or stumble over."""

STAGE = f"""
from exporter.host.console import Console
console = Console()
with console.stage("export") as stage:
    for done in range(3):
        stage.progress(done, 3, {HOSTILE!r})
    stage.warn("mind [this]")
    stage.outcome = "all [done]"
"""


@pytest.fixture
def console() -> Iterator[Console]:
    yield Console()


def shown(code: str, columns: int = 200) -> str:
    """What a terminal is sent on stderr by code."""
    return on_terminal(["-c", code], columns)


def test_a_stage_is_a_line_at_either_end_where_there_is_no_terminal(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.stage("graphs") as stage:
        stage.progress(1, 2, "half")
        stage.outcome = f"2 graphs in {HOSTILE}"
    said = capsys.readouterr()
    assert said.out == ""
    first, line = said.err.splitlines()
    assert first == "graphs     ..."
    assert line.startswith(f"graphs     2 graphs in {HOSTILE}  (")
    assert line.endswith(" s)")


def test_a_stage_that_fails_does_not_claim_an_end(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), console.stage("graphs"):
        raise ValueError("no")
    assert capsys.readouterr() == ("", "graphs     ...\n")


def test_a_terminal_has_a_bar_colour_and_the_same_last_line() -> None:
    said = shown(STAGE)
    assert HOSTILE in said
    assert "\x1b[35mwarning\x1b[0m: mind [this]" in said
    last = said.split("\r")[-2]
    assert "export     all [done]  (" in last


def test_a_bar_and_its_last_line_fit_the_terminal_and_break_no_word() -> None:
    words = " ".join(["tensorrt-rtx"] * 30)
    code = STAGE.replace(repr(HOSTILE), repr(words)).replace("all [done]", words)
    said = shown(code, columns=80)
    *last, end = plain(said).rpartition("export     ")[2].splitlines()
    assert len(last) > 1
    assert all(len(line) <= 80 and set(line.split()) == {"tensorrt-rtx"} for line in last)
    assert len(end) <= 80
    assert end.endswith(" s)")
    drawn = [line for line in re.split(r"[\r\n]+", plain(said)) if "export" in line and "0:00:0" in line]
    assert drawn
    assert all(len(line) <= 80 for line in drawn), "a bar of two lines would leave the first behind"


def test_a_stage_within_a_stage_takes_its_place() -> None:
    said = plain(
        shown("""
from exporter.host.console import Console
with Console().stage("outer") as stage:
    stage.progress(1, 3, "before")
    with Console().stage("inner") as within:
        within.progress(1, 2, "within")
        within.outcome = "inner done"
    stage.progress(2, 3, "after")
    stage.outcome = "outer done"
""")
    )
    assert "inner done" in said
    assert "outer done" in said
    assert most_bars_at_once(said) == 1
    together = [line for line in re.split(r"[\r\n]+", said) if "before" in line and "within" in line]
    assert not together


def test_a_stage_that_begins_a_further_round_is_still_running() -> None:
    said = plain(
        shown("""
import time
from exporter.host.console import Console
with Console().stage("embed") as stage:
    stage.progress(2, 2, "first round")
    stage.progress(1, 2, "second round")
    time.sleep(0.5)
""")
    )
    last = [line for line in re.split(r"[\r\n]+", said) if "second round" in line][-1]
    assert not last.startswith("  "), "the spinner turns"


def test_waiting_leaves_nothing_behind(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown("""
from exporter.host.console import Console
with Console().waiting("verify"):
    pass
""")
    assert "verify" in said
    assert said.endswith("\x1b[2K")
    with console.waiting("verify") as stage:
        stage.progress(1, 2, "half")
    assert capsys.readouterr() == ("", "")


def test_quiet_shows_no_bar_on_a_terminal_either() -> None:
    assert shown(STAGE.replace("Console()", "Console(quiet=True)").replace('stage.warn("mind [this]")', "pass")) == ""


def test_quiet_keeps_results_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    with console.stage("graphs") as stage:
        stage.warn("beware")
        stage.outcome = "2 graphs"
    console.error("broken")
    console.line("the result")
    assert capsys.readouterr() == ("the result\n", "warning: beware\nerror: broken\n")


def test_every_text_is_shown_as_it_is(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    console.warn(HOSTILE)
    console.error(HOSTILE)
    console.line(HOSTILE)
    assert capsys.readouterr() == (f"{HOSTILE}\n", f"warning: {HOSTILE}\nerror: {HOSTILE}\n")
    console.table(f"in {HOSTILE} it lies there", ("what", "number"), [(HOSTILE, "12"), ("b", "3")])
    out = capsys.readouterr().out.splitlines()
    assert HOSTILE in " ".join(line.strip() for line in out[:3])
    rows = [line.rstrip() for line in out if line.rstrip().endswith(("12", "3"))]
    assert [row.split()[-1] for row in rows] == ["12", "3"]
    assert rows[0].lstrip().startswith(HOSTILE)
    assert len(rows[0]) == len(rows[1]), "numbers align right"


def test_a_table_is_as_wide_as_the_terminal(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    header, rows = ("name", "some\nms", "other\nms", "what"), [("tensorrt-rtx", "1.5", "2", "word " * 30)]

    def drawn(**environment: str) -> tuple[str, list[str]]:
        monkeypatch.delenv("COLUMNS", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        left_out = console.table("t", header, rows, gives_way=("other ms", "some ms"))
        return capsys.readouterr().out, left_out

    out, left_out = drawn()
    assert (max(map(len, out.splitlines())), left_out) == (80, [])
    assert drawn(COLUMNS="120")[0].splitlines()[4].count("word") > out.splitlines()[4].count("word")
    assert drawn(COLUMNS="none") == drawn(COLUMNS="0") == (out, left_out)
    out, left_out = drawn(COLUMNS="26")
    assert left_out == ["other ms"], "the first of those that give way goes first"
    assert max(map(len, out.splitlines())) <= 26
    out, left_out = drawn(COLUMNS="5")
    assert left_out == ["some ms", "other ms"]
    assert "tensorrt-rtx" in out, "what still does not fit makes longer lines"


def test_a_wide_table_has_all_its_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "5")
    assert Console(wide=True).table("t", ("a", "b"), [("1", "x y")], gives_way=("a", "b")) == []
    assert capsys.readouterr().out.splitlines()[-1] == "1  x y"


def test_a_note_is_folded_between_words(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    console.note("word " * 5 + "tensorrt-rtx-and-more-than-the-terminal has")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["word word word word", "  word", "  tensorrt-rtx-and-more-than-the-terminal", "  has"]


def test_a_number_of_things() -> None:
    assert [count(number, "engine") for number in (0, 1, 2)] == ["0 engines", "1 engine", "2 engines"]


def test_a_long_message_is_one_line(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    console.error("word " * 100)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    console, value = Console(as_json=True), {"a": "ünï 日本 😀", "path": "\udcff", "b": [1.5, None]}
    console.line("a line")
    console.table("a table", ("a",), [("b",)])
    console.json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert out.isascii()
    with pytest.raises(ValueError, match="JSON"):
        console.json({"a": float("nan")})


def test_without_json_no_object_is_printed(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    console.json({"a": 1})
    assert capsys.readouterr() == ("", "")


def test_a_long_stage_shows_in_a_log_that_it_lives_and_how_long_it_may_take(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "_EVERY_S", 0.01)
    said = ""
    with console.stage("reference") as stage:
        stage.progress(1, 4, "one of four")
        while said.count("one of four") < 2:
            said += capsys.readouterr().err
    first, *between = said.splitlines()
    assert first == "reference  ..."
    assert all(re.fullmatch(r"reference  \.\.\. 0 s(, one of four)?", line) for line in between), between
    assert capsys.readouterr().err.splitlines()[-1].startswith("reference    (")


def test_a_log_has_a_line_now_and_then_and_not_one_for_each_step(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.stage("validate") as stage:
        for done in range(1000):
            stage.progress(done, 1000, f"{done}")
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_time_that_is_left_follows_from_what_is_done_or_from_what_was_expected() -> None:
    now = 0.0
    stage = Stage(Console(), None, None, lambda: now)
    now = 30.0
    assert stage.sign_of_life() == "30 s"
    stage.progress(1, 4, "one of four")
    assert stage.sign_of_life() == "30 s, one of four, about 90 s left"
    now = 70.0
    assert stage.sign_of_life() == "70 s, one of four, about 50 s left"
    now = 130.0
    assert stage.sign_of_life() == "2 min, one of four", "longer than foretold: nothing is known"
    blind = Stage(Console(), None, None, lambda: now)
    blind.expect(7400)
    assert blind.sign_of_life() == "0 s, about 2 h left"
    blind.expect(2)
    assert blind.sign_of_life() == "0 s"


def test_quiet_says_nothing_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True).stage("trace"):
        pass
    assert capsys.readouterr().err == ""
