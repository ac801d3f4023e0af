"""A model repository that Triton's schema takes, and the models in it: exact vectors, one bad text failing alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format, text_format

from exporter.commands.cli import run_command
from poolfold.manifest import read_manifest
from poolfold.triton import backend, tokens
from tests.artifacts import DIM, PROMPTS, expected, write_artifact
from tests.poolfold.triton import triton_python_backend_utils as utils
from tests.poolfold.triton.schema import ModelConfig
from tests.poolfold.triton.triton_python_backend_utils import Request


@pytest.fixture(autouse=True)
def inside_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "table", strategies=("cls", "mean"), engines=("tensorrt",))
    return tmp_path / "table"


def deploy(tmp_path: Path, artifact: Path, *more: str) -> Path:
    assert run_command(["deploy", "triton", str(artifact), "-o", str(tmp_path / "models"), "-q", *more]) == 0
    return tmp_path / "models"


def config_of(model: Path) -> Any:
    """Parsed by protobuf: a field, a name or a type that is not in the schema is an error."""
    config = ModelConfig()
    text_format.Parse((model / "config.pbtxt").read_text(), config)
    assert config.name == model.name
    return config


def started(model: Path, kind: type[Any] = backend.TritonPythonModel) -> Any:
    """The model, started as Triton starts it."""
    made = kind()
    config = json_format.MessageToJson(config_of(model), preserving_proto_field_name=True)
    made.initialize({"model_config": config, "model_repository": str(model), "model_version": "1"})
    return made


def test_texts_become_their_vectors_and_a_bad_one_fails_alone(tmp_path: Path, artifact: Path) -> None:
    model = started(deploy(tmp_path, artifact) / "table")
    requests = [Request("w3", "w4 w5"), Request("nan"), Request(b"\xff"), Request("w6"), Request("w7", "nan")]
    answers = model.execute(requests)
    np.testing.assert_array_equal(answers[0].values("embedding"), expected(["w3", "w4 w5"]))
    np.testing.assert_array_equal(answers[3].values("embedding"), expected(["w6"]))
    assert [answer.error and answer.error.code for answer in answers] == [None, 4, 3, None, 4]
    assert "not finite" in str(answers[1].error)
    assert "not UTF-8" in str(answers[2].error)
    model.finalize()


def test_the_options_are_those_that_were_asked_for(tmp_path: Path, artifact: Path) -> None:
    repository = deploy(
        tmp_path,
        artifact,
        "--name",
        "q",
        "--strategy",
        "cls",
        "--prompt-name",
        "query",
        "--instances",
        "2",
        "--threads",
        "1",
    )
    config = config_of(repository / "q")
    assert config.backend == "python"
    assert config.instance_group[0].count == 2
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert (config.output[0].name, list(config.output[0].dims)) == ("embedding", [DIM])
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "strategy": "cls",
        "target": "onnxruntime",
        "dtype": "fp32",
        "threads": "1",
        "prompt_name": "query",
    }
    (answer,) = started(repository / "q").execute([Request("w3")])
    np.testing.assert_array_equal(answer.values("embedding"), expected([PROMPTS["query"] + "w3"], "cls"))


def test_the_repository_has_nothing_but_the_model(tmp_path: Path, artifact: Path) -> None:
    model = deploy(tmp_path, artifact) / "table"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["table"]
    assert {path.name for path in model.iterdir()} == {"config.pbtxt", "1"}
    assert {path.name for path in (model / "1").iterdir()} == {"model.py", "artifact"}
    names: dict[str, Any] = {}
    exec((model / "1" / "model.py").read_text(), names)
    assert names["TritonPythonModel"] is backend.TritonPythonModel


@pytest.mark.parametrize(
    ("options", "platform", "file"),
    [
        (("--gpu",), "onnxruntime_onnx", "mean_fp32.onnx"),
        (("--target", "tensorrt"), "tensorrt_plan", "mean_fp16.engine"),
    ],
)
def test_a_gpus_models_fit_each_other_and_the_graph(
    tmp_path: Path, artifact: Path, options: tuple[str, ...], platform: str, file: str
) -> None:
    repository = deploy(tmp_path, artifact, *options, "--prompt-name", "query")
    whole, step, graph = (config_of(repository / name) for name in ("table", "table-tokens", "table-graph"))
    assert (graph.platform, graph.default_model_filename) == (platform, file)
    assert (repository / "table-graph" / "1" / file).is_file()
    manifest = read_manifest(artifact)
    assert {tensor.name for tensor in graph.input} == set(manifest.graphs[0].inputs)
    assert [(tensor.name, list(tensor.dims)) for tensor in graph.output] == [(manifest.graphs[0].output, [DIM])]
    first, second = whole.ensemble_scheduling.step
    assert (first.model_name, second.model_name) == (step.name, graph.name)
    assert set(first.output_map) == {tensor.name for tensor in step.output} == set(second.input_map)
    assert dict(first.output_map) == dict(second.input_map)
    assert set(second.output_map.values()) == {tensor.name for tensor in whole.output} == {"embedding"}
    assert set(first.input_map.values()) == {tensor.name for tensor in whole.input} == {"text"}
    assert graph.max_batch_size == (32 if file.endswith("engine") else 64)
    if platform == "onnxruntime_onnx":
        assert (repository / "table-graph" / "1" / f"{file}.data").is_file()
    made = started(repository / "table-tokens", tokens.TritonPythonModel)
    good, bad = made.execute([Request("w3", "w4 w5"), Request(b"\xff")])
    np.testing.assert_array_equal(good.values("input_ids"), [[2, 7, 8, 9, 3, 0], [2, 7, 8, 10, 11, 3]])
    np.testing.assert_array_equal(good.values("attention_mask"), [[1, 1, 1, 1, 1, 0], [1] * 6])
    assert bad.error.code == 3


def test_a_model_that_is_there_is_replaced_by_force_alone(
    tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(tmp_path, artifact)
    again = ["deploy", "triton", str(artifact), "-o", str(tmp_path / "models")]
    assert run_command(again) == 2
    assert "--force to replace it" in capsys.readouterr().err
    assert run_command([*again, "--strategy", "cls", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "table"
    assert config_of(tmp_path / "models" / "table").parameters["strategy"].string_value == "cls"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["table"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--name", "a b"), "expected letters, digits"),
        (("--prompt-name", "no"), "no prompt is called 'no'"),
        (("--strategy", "max"), "max"),
        (("--target", "tensorrt-rtx"), "tensorrt-rtx"),
        (("--target", "openvino", "--gpu"), "no backend for openvino"),
    ],
)
def test_bad_arguments(
    tmp_path: Path, artifact: Path, more: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["deploy", "triton", str(artifact), "-o", str(tmp_path / "models"), *more]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
