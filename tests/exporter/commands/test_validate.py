"""`poolfold validate`: the vectors are checked again, and a graph that is intact and wrong is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.cli import run_command
from poolfold.manifest import read_manifest
from tests.exporter.commands.copies import copy_with_one_graph, copy_with_the_wrong_pooling, with_source

CPU, REHEARSAL = "onnxruntime cpu", "fp16 rehearsal on onnxruntime cpu"
FREE, PACKED = f"{CPU}, padding-free", f"{CPU}, packed"
EXECUTORS = [
    (name, dtype, executor)
    for dtype, executors in (("fp32", (CPU, FREE)), ("fp16", (CPU, FREE, PACKED, REHEARSAL)))
    for name in ("mean", "cls")
    for executor in executors
]


def test_every_graph_passes_as_it_did_when_it_was_exported(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["validate", str(artifact), "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"directory", "passed", "parity"}
    assert (found["directory"], found["passed"]) == (str(artifact), True)
    assert [(r["strategy"], r["dtype"], r["executor"]) for r in found["parity"]] == EXECUTORS
    recorded = read_manifest(artifact).parity
    for again, before in zip(found["parity"], recorded, strict=True):
        assert again["texts"] == before["texts"]
        assert {n: (c["limit"], c["passed"]) for n, c in again["checks"].items()} == {
            n: (c["limit"], c["passed"]) for n, c in before["checks"].items()
        }


def test_the_users_texts_are_checked_too(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = copy_with_one_graph(artifact, tmp_path / "a")
    (tmp_path / "texts.txt").write_text("my own text\n\nand another\n")
    assert run_command(["validate", str(tmp_path / "a"), "--texts", str(tmp_path / "texts.txt")]) == 0
    out, err = capsys.readouterr()
    assert f"reference  {manifest.parity[0]['texts'] + 3} texts in PyTorch fp32" in err
    assert "validate   1 candidates, 0 failed" in err
    rows = [line.split() for line in out.splitlines() if line.split()[:1] == ["mean"]]
    assert {row[-1] for row in rows} <= {"passed", "reported"}
    assert ["mean", "fp32", "onnxruntime", "cpu", "cosine"] in [row[:5] for row in rows]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_pooling_fails_and_the_table_says_where(
    as_json: bool, artifact: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_with_the_wrong_pooling(artifact, tmp_path / "a")
    with_source(tmp_path / "a", tmp_path / "gone")
    arguments = ["validate", str(tmp_path / "a"), "--model", str(checkpoint), "--quiet"]
    assert run_command([*arguments, *["--json"] * as_json]) == 1
    out, err = capsys.readouterr()
    assert "mean fp32 on onnxruntime cpu does not give PyTorch's vectors: cosine" in err
    if as_json:
        found = json.loads(out)
        assert found["passed"] is False
        (report,) = found["parity"]
        assert report["passed"] is report["checks"]["cosine"]["passed"] is False
        assert report["checks"]["cosine"]["value"] < 0.99
    else:
        rows = {line.split()[4]: line.split()[-1] for line in out.splitlines() if line.split()[:1] == ["mean"]}
        assert rows["cosine"] == "FAILED"
        assert "passed" in rows.values(), "what holds whatever the pooling is not called failed"
