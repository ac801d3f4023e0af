"""`poolfold report`: an artifact's own parity and latency as a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exporter.commands.cli import run_command
from poolfold.manifest import read_manifest
from poolfold.verify import verify
from tests.artifacts import rewrite_manifest, write_artifact
from tests.browser import needs_chromium
from tests.exporter.reporting.looks import check_page


@pytest.fixture
def mine(artifact: Path, tmp_path: Path) -> Path:
    shutil.copytree(artifact, tmp_path / "mine")
    return tmp_path / "mine"


@needs_chromium
def test_the_page_says_what_the_manifest_says(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", str(mine), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    page = tmp_path / "mine-report" / "report.html"
    assert said["report"] == str(page)
    text = check_page(page, tmp_path)
    manifest = read_manifest(mine)
    assert f"{len(manifest.parity)} candidates were checked against PyTorch in fp32, text by text: all passed." in text
    for row in manifest.parity:
        assert f"{row.strategy} {row.dtype}, {row.ran_on}" in text
        for check in row.checks.values():
            assert f"{check.value:.7g}" in text
    assert "Not measured" in text
    assert (page.parent / "parity.png").read_bytes().startswith(b"\x89PNG")
    verify(mine)  # it took nothing


def test_latency_is_there_where_it_was_measured(mine: Path, tmp_path: Path) -> None:
    row = {
        "strategy": "mean", "dtype": "fp32", "runtime": "onnxruntime", "workload": "1x16", "threads": 2,
        "median_ms": 1.25, "q1_ms": 1.0, "q3_ms": 1.5, "speedup": 2.5, "sentences_per_s": 800.0,
        "tokens_per_s": 1.0, "increase_mib": None,
    }  # fmt: skip
    reference = {**row, "runtime": "pytorch", "speedup": 1.0, "median_ms": 3.125, "increase_mib": 90.0}
    disturbed = {**row, "workload": "1x128", "speedup": 4.87, "disturbed": True}
    reasons = {"32x128": "it would take too long"}
    rewrite_manifest(mine, read_manifest(mine), latency=(reference, row, disturbed), latency_left_out=reasons)
    assert run_command(["report", str(mine), "-o", str(tmp_path / "out"), "-q"]) == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "1.25 [1.00, 1.50]" in text
    assert "Speed-up is PyTorch&#39;s time over this one&#39;s" in text
    assert ">2.50x<" in text
    assert ">4.87x?<" in text
    assert ">4.87x<" not in text
    assert "neither it nor its times are a finding" in text
    assert "32x128 left out: it would take too long." in text
    assert (tmp_path / "out" / "latency.png").is_file()


def test_a_check_that_failed_and_an_engine_that_never_ran_are_said_to_be_that(tmp_path: Path) -> None:
    check = {"value": 0.5, "limit": 0.999, "passed": False}
    failed = {
        "strategy": "mean", "dtype": "fp32", "executor": "onnxruntime cpu", "reference": "PyTorch", "passed": False,
        "texts": 3, "checks": {"cosine": check}, "worst": [{"text": "a", "cosine": 0.5}],
    }  # fmt: skip
    write_artifact(tmp_path / "bad", engines=("tensorrt-rtx",), parity=(failed,))
    assert run_command(["report", str(tmp_path / "bad")]) == 0
    text = (tmp_path / "bad-report" / "report.html").read_text()
    assert "1 failed" in text
    assert "FAILED 0.5 (0.999)" in text
    assert "1 engine was built and never run" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none"], "none"),
        (["mine", "-o", "mine/report"], "lies in the artifact"),
        (["mine", "-o", "."], "mine lies in the destination"),
        (["mine", "-o", "file"], "file cannot be written"),
    ],
)
def test_bad_input(arguments: list[str], says: str, mine: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(mine.parent)
    Path("file").touch()
    assert run_command(["report", *arguments]) == 2
    assert says in capsys.readouterr().err
    verify(mine)


def test_a_changed_artifact_is_not_reported_on(mine: Path, capsys: Any) -> None:
    (mine / "tokenizer.json").write_text("{}")
    assert run_command(["report", str(mine)]) != 0
    assert "tokenizer.json" in capsys.readouterr().err
    assert not mine.with_name("mine-report").exists()
