"""Every message that a wrong command line gives stands in wrong_command_lines.md, to be read by a person."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.exporter.commands.wrong_command_lines import LINES

ROOT = Path(__file__).parents[3]
PAGE = Path(__file__).with_suffix(".md").with_name("wrong_command_lines.md")
HEAD = "# Wrong command lines\n\nWhat each gives in a terminal; `UPDATE_MESSAGES=1` writes this file anew.\n"


@pytest.fixture(scope="module")
def answers() -> list[tuple[str, int, str, str]]:
    """Each line with its exit code, stdout and stderr; run in one process."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        desk = Path(folder) / "desk"
        desk.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "tests.exporter.commands.wrong_command_lines"],
            cwd=desk, env=os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:9",
                "HF_HOME": f"{folder}/hf", "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = done.stdout.replace(str(desk.resolve()), "/home/me").replace(str(desk), "/home/me")
    text = re.sub(r"onnxruntime \d+\.\d+\.\d+", "onnxruntime N", text)
    text = re.sub(r"\(\d+\.\d s\)", "(0.0 s)", text)
    return [tuple(answer) for answer in json.loads(text)]


def test_messages_are_those_that_were_read(answers: list[tuple[str, int, str, str]]) -> None:
    said = {line: (code, out, err) for line, code, out, err in answers}
    page = HEAD
    for title, lines in LINES.items():
        page += f"\n## {title}\n"
        for line in lines:
            code, out, err = said[line]
            page += f"\n```\n$ poolfold {line}\n{out}{err.rstrip()}\n[{code}]\n```\n"
    if "UPDATE_MESSAGES" in os.environ:
        PAGE.write_text(page)
    assert page == PAGE.read_text()


def test_a_wrong_line_is_never_a_bug_and_never_a_success(answers: list[tuple[str, int, str, str]]) -> None:
    assert len(answers) >= 60
    for line, code, out, err in answers:
        assert code in (1, 2, 3), line
        assert "bug in poolfold" not in err, line
        assert "Traceback" not in err, line
        assert bool(out) == ("--json" in line), line
