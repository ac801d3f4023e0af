"""What is refused of an encoder that somebody else exported, and with which reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from exporter.commands.cli import run_command
from tests.foreign import INT32, foreign_folder, torchscript_encoder
from tests.models import edit_json

FOUR = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript graph of opset 14 with int32 inputs, as optimum lays it out."""
    model = torchscript_encoder(dtype=INT32, inputs=FOUR, outputs=("token_embeddings", "sentence_embedding"))
    return foreign_folder(tmp_path_factory.mktemp("foreign") / "m", model)


def pooled_only(folder: Path) -> Path:
    return foreign_folder(folder, torchscript_encoder(layers=1, outputs=("sentence_embedding",)))


def unknown_inputs(folder: Path) -> Path:
    return foreign_folder(folder, torchscript_encoder(layers=1, inputs=(*FOUR[:2], "pixel_values")))


def fixed_shape(folder: Path) -> Path:
    return foreign_folder(folder, torchscript_encoder(layers=1, dims=("batch", 128)))


def unmasked(folder: Path) -> Path:
    return foreign_folder(folder, torchscript_encoder(layers=1, masked=False))


def quantised(folder: Path) -> Path:
    model = torchscript_encoder(layers=1)
    node = next(node for node in model.graph if node.op_type == "MatMul")
    model.graph.insert_before(node, ir.node("DynamicQuantizeLinear", [node.inputs[0]], num_outputs=3))
    return foreign_folder(folder, model)


def half(folder: Path) -> Path:
    model = torchscript_encoder(layers=1)
    for value in model.graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float16), name=value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT16)
    return foreign_folder(folder, model)


def positions_of_roberta(folder: Path) -> Path:
    return foreign_folder(folder, torchscript_encoder(layers=1, inputs=FOUR), architecture="roberta")


def no_tokeniser(folder: Path) -> Path:
    path = foreign_folder(folder, torchscript_encoder(layers=1))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    return path


def no_configuration(folder: Path) -> Path:
    path = foreign_folder(folder, torchscript_encoder(layers=1))
    (folder / "config.json").unlink()
    return path


def missing(folder: Path) -> Path:
    return folder / "gone.onnx"


def unreadable(folder: Path) -> Path:
    path = foreign_folder(folder, torchscript_encoder(layers=1))
    path.write_bytes(path.read_bytes()[:-500])
    return path


def no_weights(folder: Path) -> Path:
    path = foreign_folder(folder, torchscript_encoder(layers=1), external=True)
    path.with_name("model.onnx_data").unlink()
    return path


def another_width(folder: Path) -> Path:
    path = foreign_folder(folder, torchscript_encoder(layers=1))
    edit_json(folder / "config.json", hidden_size=16)
    return path


def not_a_number(folder: Path) -> Path:
    model = torchscript_encoder(layers=1)
    value = model.graph.initializers["embeddings.word_embeddings.weight"]
    array = value.const_value.numpy().copy()
    array[7, 3] = np.nan
    value.const_value = ir.tensor(array, name=value.name)
    return foreign_folder(folder, model)


def unknown_operator(folder: Path) -> Path:
    model = torchscript_encoder(layers=1)
    next(node for node in model.graph if node.op_type == "Erf").op_type = "Riddle"
    return foreign_folder(folder, model)


REFUSED: list[tuple[Callable[[Path], Path], str]] = [
    (pooled_only, r"no vectors of tokens.*last_hidden_state or token_embeddings"),
    (unknown_inputs, r"has the inputs pixel_values; expected input_ids, attention_mask"),
    (fixed_shape, r"fixed shape \[batch,128\].*dynamic batch and sequence axes"),
    (unmasked, r"do not depend on attention_mask, so padded batches would give wrong vectors"),
    (quantised, r"quantised \(DynamicQuantizeLinear\); expected fp32"),
    (half, r"graph in FLOAT16; expected fp32"),
    (positions_of_roberta, r"position_ids, and a roberta counts positions by its padding"),
    (no_tokeniser, r"tokenizer\.json"),
    (no_configuration, r"no config\.json beside it or in the folder above"),
    (missing, r"gone\.onnx does not exist"),
    (unreadable, r"cannot be read as an ONNX graph"),
    (no_weights, r"model\.onnx_data, which is missing"),
    (another_width, r"vectors of 32 values, and config\.json has hidden_size 16"),
    (not_a_number, r"'embeddings\.word_embeddings\.weight' has 1 of 9600 values that are NaN"),
    (unknown_operator, r"opset 14 cannot be converted to 23: .*Riddle"),
]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("make", "pattern"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_it_is_refused_with_the_reason(
    make: Callable[[Path], Path], pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path / "m")
    arguments = ["export", str(path), "-o", str(tmp_path / "out"), "--pooling", "mean", "--skip-latency"]
    assert run_command(arguments) == 2, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert out == ""
    message = next(line for line in err.splitlines() if line.startswith("error: "))
    assert re.search(pattern, message), message
    assert {entry.name for entry in tmp_path.iterdir()} <= {"m"}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ([], r"does not say which pooling.*--pooling"),
        (["--pooling", "mean", "--revision", "main"], r"is a file, and revision 'main'"),
        (["--pooling", "mean", "--allow-pickle"], r"Leave --allow-pickle out"),
        (["--pooling", "mean", "--dimensions", "33"], r"more than the 32"),
        (["--pooling", "mean", "--seq-len", "1:8:65"], r"limit of 64"),
    ],
)
def test_options_that_do_not_go_with_it(
    arguments: list[str], pattern: str, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", str(foreign), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert re.search(pattern, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_this_process")
def test_a_branch_is_refused_in_fp16_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = torchscript_encoder(layers=1)
    node = next(node for node in model.graph if node.op_type == "Erf")
    flag = next(value for value in model.graph.inputs if value.name == "token_type_ids")
    some = ir.node("ReduceMax", [flag], {"keepdims": 0})
    yes = ir.node("Cast", [some.outputs[0]], {"to": 9})
    kept = [ir.node(op, [node.inputs[0]]) for op in ("Tanh", "Sigmoid")]
    branches = [ir.Graph([], [n.outputs[0]], nodes=[n], name=f"g{i}") for i, n in enumerate(kept)]
    for n in kept:
        n.outputs[0].type, n.outputs[0].name = ir.TensorType(ir.DataType.FLOAT), f"{n.op_type} of a branch"
    chosen = ir.node("If", [yes.outputs[0]], {"then_branch": branches[0], "else_branch": branches[1]})
    model.graph.insert_before(node, [some, yes, chosen])
    node.replace_input_with(0, chosen.outputs[0])
    path = foreign_folder(tmp_path / "m", model)
    arguments = ["export", str(path), "-o", str(tmp_path / "out"), "--pooling", "mean", "--skip-latency"]
    assert run_command([*arguments, "--dtype", "fp16"]) == 2
    assert "holds If, a subgraph, which --dtype fp16 cannot convert" in capsys.readouterr().err
    assert run_command(arguments) == 0, capsys.readouterr().err
