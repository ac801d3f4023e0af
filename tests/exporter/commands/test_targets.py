"""`poolfold targets`: each target with its version, or with the reason why it is not here."""

from __future__ import annotations

import dataclasses
import json
import sys

import onnxruntime
import pytest

from exporter.commands.cli import run_command
from exporter.targets import availability


def test_json_has_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["targets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"targets": [dataclasses.asdict(target) for target in availability()]}
    assert [set(target) for target in found["targets"]] == [{"name", "available", "version", "reason", "does"}] * 4


def test_what_is_not_here_says_why_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setenv("COLUMNS", "400")
    assert run_command(["targets"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in rows if row[:1] in (["onnxruntime"], ["openvino"], ["tensorrt-rtx"])]
    assert [row[:3] for row in rows] == [
        ["onnxruntime", "yes", onnxruntime.__version__],
        ["openvino", "no", "-"],
        ["tensorrt-rtx", "no", "-"],
    ]
    assert "[openvino]" in " ".join(rows[1])
    assert "[tensorrt-rtx]" in " ".join(rows[2])
