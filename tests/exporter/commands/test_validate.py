"""`poolfold validate`: the vectors are checked again, and a graph that is intact and wrong is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from exporter.commands.cli import run_command
from exporter.parity.compare import LIMITS
from poolfold.manifest import read_manifest
from tests.artifacts import relist, rewrite_manifest
from tests.exporter.commands.copies import copy_with_one_graph, copy_with_the_wrong_pooling, with_source
from tests.openvino_here import DTYPES

CPU, REHEARSAL = "onnxruntime cpu", "fp16 rehearsal on onnxruntime cpu"
FREE, PACKED = f"{CPU}, padding-free", f"{CPU}, packed"
EXECUTORS = [
    (name, dtype, executor)
    for dtype, executors in (("fp32", (CPU, FREE)), ("fp16", (CPU, REHEARSAL, FREE, PACKED)))
    for name in ("mean", "cls")
    for executor in executors
]


def test_every_graph_passes_as_it_did_when_it_was_exported(
    artifact: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["validate", str(artifact), "--model", str(checkpoint), "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"directory", "passed", "validated_up_to", "parity"}
    assert found["validated_up_to"] == read_manifest(artifact).validated_up_to == 64
    assert (found["directory"], found["passed"]) == (str(artifact), True)
    assert [(r["strategy"], r["dtype"], r["executor"]) for r in found["parity"]] == EXECUTORS
    recorded = msgspec.to_builtins(read_manifest(artifact).parity)
    for again, before in zip(found["parity"], recorded, strict=True):
        assert again["texts"] == before["texts"]
        assert {n: (c["limit"], c["passed"]) for n, c in again["checks"].items()} == {
            n: (c["limit"], c["passed"]) for n, c in before["checks"].items()
        }


def test_the_users_texts_are_checked_too(
    artifact: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = copy_with_one_graph(artifact, tmp_path / "a")
    (tmp_path / "texts.txt").write_text("my own text\n\nand another\n")
    assert (
        run_command(
            ["validate", str(tmp_path / "a"), "--model", str(checkpoint), "--texts", str(tmp_path / "texts.txt")]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert f"reference  {manifest.parity[0].texts + 3} texts in PyTorch fp32" in err
    assert "validate   1 candidate, 0 failed" in err
    (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["mean"]]
    assert row[:6] == ["mean", "fp32", "onnxruntime", "cpu", "plain", "passed"]
    assert float(row[6]) > 0.999999
    assert "FAILED" not in out


def test_a_target_is_checked_by_itself(
    openvino_artifact: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_command(
            [
                "validate",
                str(openvino_artifact),
                "--model",
                str(checkpoint),
                "--target",
                "openvino",
                "--json",
                "--threads",
                "1",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)["parity"]
    assert [(r["strategy"], r["dtype"], r["executor"]) for r in found] == [
        (name, dtype, f"openvino cpu{form}")
        for dtype in DTYPES
        for name in ("mean", "cls")
        for form in ("", ", padding-free")
    ]
    limits = {r["dtype"]: r["checks"]["cosine"]["limit"] for r in found}
    assert limits == {dtype: LIMITS[dtype].cosine for dtype in DTYPES}


def test_a_wrong_pooling_fails_in_openvino_in_every_precision(
    openvino_artifact: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "a"
    shutil.copytree(openvino_artifact, copy)
    shutil.copyfile(copy / "onnx" / "cls_fp32.onnx", copy / "onnx" / "mean_fp32.onnx")
    manifest = read_manifest(copy)
    rewrite_manifest(copy, manifest, files=relist(copy, manifest, "onnx/mean_fp32.onnx"))
    assert (
        run_command(["validate", str(copy), "--model", str(checkpoint), "--target", "openvino", "--json", "--quiet"])
        == 1
    )
    out, err = capsys.readouterr()
    assert {(r["strategy"], r["dtype"], r["executor"]) for r in json.loads(out)["parity"] if not r["passed"]} == {
        ("mean", dtype, "openvino cpu") for dtype in DTYPES
    }
    for dtype in DTYPES:
        assert f"mean {dtype} on openvino cpu does not give PyTorch's vectors: cosine" in err


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
        (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["mean"]]
        assert row[5] == "FAILED"
        failed = [line for line in out.splitlines() if line.startswith("FAILED mean fp32 on onnxruntime cpu: ")]
        assert any("cpu: cosine 0." in line and "expected >= 0.999999." in line for line in failed)
        assert len(failed) < 11, "what holds whatever the pooling is not called failed"
