"""What reaches the terminal: results on stdout, narration on stderr, and every text as it is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from exporter.host.console import Console

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


def on_terminal(code: str) -> str:
    """Run code whose stderr is a terminal, and return what that terminal was sent."""
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=slave, env=environment)
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 4096):
            said += chunk
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == 0, said
    return said.decode()


def test_a_stage_is_one_line_on_stderr_where_there_is_no_terminal(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.stage("graphs") as stage:
        stage.progress(1, 2, "half")
        stage.outcome = f"2 graphs in {HOSTILE}"
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"graphs     2 graphs in {HOSTILE}  (")
    assert line.endswith(" s)")


def test_a_stage_that_fails_does_not_claim_an_end(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), console.stage("graphs"):
        raise ValueError("no")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_colour_and_the_same_last_line() -> None:
    said = on_terminal(STAGE)
    assert HOSTILE in said
    assert "\x1b[33mwarning\x1b[0m: mind [this]" in said
    last = said.split("\r")[-2]
    assert "export     all [done]  (" in last


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
    # A title as wide as its table may fold; nothing of it is lost.
    assert HOSTILE in " ".join(line.strip() for line in out[:3])
    rows = [line.rstrip() for line in out if line.rstrip().endswith(("12", "3"))]
    assert [row.split()[-1] for row in rows] == ["12", "3"]
    assert rows[0].lstrip().startswith(HOSTILE)
    assert len(rows[0]) == len(rows[1]), "numbers align right"


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
