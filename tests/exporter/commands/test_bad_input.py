"""Bad input: the exit code, a message that helps, and nothing left behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.commands.cli import run_command
from poolfold.manifest import MANIFEST_NAME
from tests.artifacts import seal
from tests.models import edit_json

Break = Callable[[Path], None]


def rewrite_manifest(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest's fields and seal it again, as somebody who knows the format could."""
    fields = json.loads((directory / MANIFEST_NAME).read_bytes())
    del fields["manifest_sha256"]
    change(fields)
    (directory / MANIFEST_NAME).write_bytes(seal(fields))


def truncate_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def poison_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def shrink_table(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    weights[name] = weights[name][:50].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", vocab_size=50)


def drop_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.attention.self.key.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def all_pooling_off(folder: Path) -> None:
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_cls_token": false}'
    )


def unknown_pooling(folder: Path) -> None:
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="attention")


def unknown_module(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(1, {"idx": 9, "name": "9", "path": "9_LSTM", "type": "sentence_transformers.models.LSTM"})
    (folder / "modules.json").write_text(json.dumps(modules))


def no_pooling_config(folder: Path) -> None:
    shutil.rmtree(folder / "1_Pooling")


def broken_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


CHECKPOINTS: list[tuple[Break, str]] = [
    (truncate_weights, r"model\.safetensors"),
    (poison_weights, r"encoder\.layer\.0\.output\.dense\.weight.* 1 of .*NaN"),
    (shrink_table, r"ids up to \d+.*50 rows"),
    (drop_a_weight, r"lacks 1 weights.*attention\.self\.key\.weight"),
    (pickle_weights, r"--allow-pickle"),
    (all_pooling_off, r"pooling"),
    (unknown_pooling, r"'?attention'?"),
    (unknown_module, r"LSTM"),
    (no_pooling_config, r"1_Pooling"),
    (broken_json, r"config\.json"),
    (no_tokenizer, r"tokeni[sz]er"),
]


def refused(arguments: list[str], code: int, pattern: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return what it said."""
    capsys.readouterr()
    assert run_command(arguments) == code, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out == ""
    message = " ".join(said.err.split())
    assert re.search(pattern, message), message
    assert "bug in poolfold" not in message
    return message


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("break_it", "pattern"), CHECKPOINTS, ids=[b.__name__ for b, _ in CHECKPOINTS])
def test_a_broken_checkpoint(
    break_it: Break, pattern: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    break_it(folder)
    refused(["export", str(folder), "-o", str(tmp_path / "out" / "deep"), "--skip-latency"], 2, pattern, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.e2e
@pytest.mark.usefixtures("in_this_process")
def test_pickled_weights_load_when_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    pickle_weights(folder)
    arguments = ["export", str(folder), "-o", str(tmp_path / "out"), "--skip-latency", "--allow-pickle"]
    assert run_command(arguments) == 0
    assert (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["--pooling", "average"], r"'average' is unknown.*Did you mean mean"),
        (["--pooling", "cls+cls"], r"twice"),
        (["--dimensions", "33"], r"--dimensions 33 is more than the 32"),
        (["--dimensions", "0"], r"--dimensions"),
        (["--seq-len", "1:16:1000"], r"limit of 64"),
        (["--seq-len", "16:8:32"], r"MIN <= OPT <= MAX"),
        (["--batch", "1:2"], r"1:8:64"),
        (["--batch", "١:٢:٣"], r"1:8:64"),
        (["--batch", "1:8:99999999999"], r"at most 65536"),
        (["--threads", "100000"], r"--threads"),
        (["--dtype", "fp4"], r"fp32"),
        (["--target", "tensorrt-rtx"], r"needs --dtype fp16"),
        (["--dtype", "bf16"], r"--dtype bf16 needs --target openvino"),
        (
            ["--dtype", "fp16", "--target", "openvino"],
            r"--target openvino needs --dtype fp32, bf16 or int8: .*CPUs without",
        ),
        (["--texts", "nowhere.txt"], r"nowhere\.txt does not exist"),
        (["--revision", "main"], r"revision"),
        (["--pool", "cls"], r"--pool"),
    ],
)
def test_a_flag_that_cannot_be(
    arguments: list[str], pattern: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["export", str(checkpoint), "-o", str(tmp_path / "out"), *arguments], 2, pattern, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_what_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("text")
    for model in ("empty", "file.txt", "no/such/folder/anywhere"):
        refused(["export", str(tmp_path / model), "-o", str(tmp_path / "out")], 2, "heckpoint|hub id", capsys)
        refused(["inspect", str(tmp_path / model)], 2, "heckpoint|hub id", capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file.txt"]


def test_an_output_that_is_not_empty_is_refused_before_any_work(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    message = refused(["export", str(checkpoint), "-o", str(tmp_path)], 2, "--force", capsys)
    assert "read " not in message
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_texts_that_are_not_utf8_are_named_by_line(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_bytes(b"good\n\xff\xfebad\n")
    arguments = ["embed", str(artifact), "-i", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "v.npy")]
    refused(arguments, 2, "line 2", capsys)
    assert not (tmp_path / "v.npy").exists()


@pytest.mark.parametrize("command", ["verify", "embed", "inspect", "validate", "bench"])
@pytest.mark.parametrize("damage", ["changed byte", "manifest byte", "extra file", "missing file", "escape", "future"])
def test_an_artifact_that_is_not_what_its_manifest_says(
    command: str, damage: str, checkpoint: Path, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(artifact, copy)
    graph = copy / "onnx" / "mean_fp32.onnx"
    pattern = "mean_fp32.onnx"
    match damage:
        case "changed byte":
            data = bytearray(graph.read_bytes())
            data[len(data) // 2] ^= 1
            graph.write_bytes(data)
        case "manifest byte":
            path = copy / "manifest.json"
            path.write_bytes(path.read_bytes().replace(b'"trained": false', b'"trained":  true', 1))
            pattern = "changed after it was written"
        case "extra file":
            (copy / "onnx" / "extra.onnx").write_bytes(b"")
            pattern = "extra.onnx"
        case "missing file":
            graph.unlink()
        case "escape":
            (tmp_path / "outside.bin").write_bytes(b"outside")
            rewrite_manifest(copy, lambda fields: fields["files"][0].update(path="../outside.bin"))
            pattern = r"\.\./outside\.bin"
        case "future":
            rewrite_manifest(copy, lambda fields: fields.update(schema_version=99))
            pattern = "schema version 99.*Upgrade"
    (tmp_path / "texts.txt").write_text("one\n")
    files = ["-i", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "v.npy")]
    model = ["--model", str(checkpoint)]
    more = {"embed": files, "validate": model, "bench": model}.get(command, [])
    code = 1 if command == "verify" and "Upgrade" not in pattern else 2
    refused([command, str(copy), *more], code, pattern, capsys)
    assert not (tmp_path / "v.npy").exists()


def test_an_engine_cannot_be_run_here_and_says_so(
    checkpoint: Path, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("one\n")
    embed = ["embed", str(artifact), "-i", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "v.npy")]
    refused([*embed, "--target", "tensorrt-rtx"], 3, "tensorrt-rtx.*target onnxruntime", capsys)
    validate = ["validate", str(artifact), "--model", str(checkpoint)]
    refused([*validate, "--target", "tensorrt-rtx"], 3, "tensorrt-rtx", capsys)
    refused([*embed, "--strategy", "max"], 2, "no strategy 'max'; it has mean, cls", capsys)
    refused([*embed, "--target", "openvino"], 2, "no openvino engine for strategy mean; it has onnxruntime", capsys)
    refused([*embed, "--target", "cuda"], 2, "--target", capsys)


def test_a_moved_checkpoint_is_asked_for(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(artifact, copy)
    rewrite_manifest(copy, lambda fields: fields["model"].update(source=str(tmp_path / "gone")))
    refused(["validate", str(copy)], 2, "--model", capsys)


def test_another_checkpoint_is_not_compared_with(
    artifact: Path, dense_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["validate", str(artifact), "--model", str(dense_checkpoint)], 2, "is not the model", capsys)
