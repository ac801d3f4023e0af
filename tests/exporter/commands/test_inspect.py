"""`poolfold inspect`: a checkpoint, an artifact or a graph, for people and for scripts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.commands.cli import run_command
from exporter.commands.engine_table import _about
from poolfold.manifest import read_manifest
from tests.architectures import HIDDEN, LAYERS, POSITIONS
from tests.artifacts import write_artifact
from tests.openvino_here import DTYPES


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run_command(["inspect", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def json_of(capsys: pytest.CaptureFixture[str], subject: object) -> dict[str, Any]:
    fields = json.loads(said(capsys, subject, "--json"))
    assert isinstance(fields, dict)
    return fields


KEYS = ("target", "strategy", "dtype", "status", "form", "attention_layers", "attention_fused")


def test_an_artifact_lists_each_engine(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, artifact)
    assert [
        {key: engine[key] for key in KEYS}
        for engine in found["engines"]
    ] == [
        {
            "target": "tensorrt-rtx", "strategy": name, "dtype": "fp16", "status": "built",
            "form": form, "attention_layers": LAYERS, "attention_fused": LAYERS,
        }
        for name in ("mean", "cls")
        for form in ("plain", "packed")
    ]  # fmt: skip
    expected = msgspec.to_builtins(read_manifest(artifact))
    del expected["files"]
    assert found == {"directory": str(artifact), **json.loads(json.dumps(expected))}


def test_engines_say_for_which_gpus_each_precision_is(tmp_path: Path) -> None:
    first = write_artifact(tmp_path / "a", engines=("tensorrt-rtx",)).engines[0]
    more = msgspec.structs.replace(first, dtype="fp8", compute_capabilities=("8.9", "12.0"))
    assert f"1 engine for GPUs of compute capability 8.9, by {first.library}" in _about([first])
    assert "2 engines for GPUs of compute capability 8.9 (fp16) and 8.9, 12.0 (fp8), by" in _about([first, more])


def test_what_openvino_runs_is_listed_as_an_engine(openvino_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [
        {key: engine[key] for key in ("target", "strategy", "dtype", "status", "attention_layers", "attention_fused")}
        for engine in json_of(capsys, openvino_artifact)["engines"]
    ] == [
        {
            "target": "openvino", "strategy": name, "dtype": dtype, "status": "validated",
            "attention_layers": LAYERS, "attention_fused": LAYERS,
        }
        for dtype in DTYPES
        for name in ("mean", "cls")
    ]  # fmt: skip
    out = said(capsys, openvino_artifact)
    assert [line.split()[3] for line in out.splitlines() if line.split()[2:3] == ["openvino"]] == [
        "validated"
    ] * 2 * len(DTYPES)
    assert f"attention fused in {LAYERS} of {LAYERS} layers" in " ".join(out.split())
    assert "have not been checked" not in out


def test_an_artifact_for_people(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, artifact, "--wide")
    rows = [line.split()[:4] for line in out.split("\n\n")[0].splitlines()]
    assert [row for row in rows if "onnxruntime" in row or "tensorrt-rtx" in row] == [
        [name, dtype, target, status]
        for name in ("mean", "cls")
        for dtype, target, status in (
            ("fp32", "onnxruntime", "validated"),
            ("fp16", "onnxruntime", "validated"),
            ("fp16", "tensorrt-rtx", "built"),
        )
    ]
    assert out.count("tensorrt-rtx packed") == 2
    out = " ".join(out.split())
    assert "its vectors have not been checked" in out
    assert "mean, row-push-down: not moved: last_hidden_state: the pooling reads every row" in out
    assert re.search(r"cls, row-push-down: \d+ nodes compute one row, through the last attention", out)
    assert re.search(r"mean, padding-free: \d+ nodes and \d+ matrix products on real tokens", out)


def test_a_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, checkpoint)
    assert (found["source"], found["model_type"], found["trained_strategy"]) == (str(checkpoint), "bert", "mean")
    assert (found["hidden_size"], found["num_layers"], found["dim"]) == (HIDDEN, LAYERS, HIDDEN)
    assert found["modules"] == ["transformer", "pooling", "normalize"]
    assert found["text"]["prompts"] == {"query": "search for: ", "document": ""}
    out = said(capsys, checkpoint)
    assert f"bert, {LAYERS} layers, hidden size {HIDDEN}" in out
    assert f"{POSITIONS} tokens, padded on the right" in out
    assert "query: 'search for: '" in out


def test_the_dimension_is_that_behind_the_dense_layers(
    dense_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json_of(capsys, dense_checkpoint)
    assert found["modules"] == ["transformer", "pooling", "dense", "dense", "normalize"]
    assert found["dim"] == 24


def test_a_pooling_that_is_not_said_is_not_guessed(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(checkpoint, tmp_path / "plain")
    (tmp_path / "plain" / "modules.json").unlink()
    found = json_of(capsys, tmp_path / "plain")
    assert (found["trained_strategy"], found["dim"]) == (None, None)
    assert "not said: name a strategy with --pooling" in said(capsys, tmp_path / "plain")


def test_a_graph(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = artifact / "onnx" / "mean_fp16.onnx"
    found = json_of(capsys, path)
    assert found["path"] == str(path)
    assert [(t["name"], t["dtype"], t["shape"]) for t in found["inputs"]] == [
        ("input_ids", "INT64", ["batch", "seq"]),
        ("attention_mask", "INT64", ["batch", "seq"]),
    ]
    assert [(t["name"], t["dtype"], t["shape"]) for t in found["outputs"]] == [
        ("sentence_embedding", "FLOAT", ["batch", HIDDEN])
    ]
    assert (found["attention_layers"], found["attention_ops"]) == (LAYERS, LAYERS)
    assert sum(found["ops"].values()) == found["nodes"]
    assert found["initializer_bytes"]["FLOAT16"] > found["initializer_bytes"]["FLOAT"]
    out = said(capsys, path)
    assert f"opset {found['opset']}, {found['nodes']} nodes" in out
    assert "input   input_ids: INT64 [batch, seq]" in out
    assert f"attention: {LAYERS} of {LAYERS} layers are one Attention operator" in out


def test_brackets_in_a_path_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path / "[red]a[" / "]")
    out = said(capsys, tmp_path / "[red]a[" / "]")
    assert "[red]a[/]" in "".join(line.strip() for line in out.splitlines())


def test_an_artifact_may_be_called_as_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path / "a.onnx")
    assert json_of(capsys, tmp_path / "a.onnx")["model"]["model_type"] == "table"


@pytest.mark.parametrize("name", ["absent.onnx", "broken.onnx", "file.bin"])
def test_what_is_none_of_them_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name != "absent.onnx":
        (tmp_path / name).write_bytes(b"\xff not a graph")
    assert run_command(["inspect", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert name in err
