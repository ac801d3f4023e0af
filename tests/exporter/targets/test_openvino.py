"""Graphs compiled by the real OpenVINO: what it says of itself, and which attention is one kernel."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from exporter.targets.openvino import availability, compile_and_inspect
from poolfold.errors import ArtifactError, how_to_install
from poolfold.sessions.openvino import compile_graph
from tests.exporter.targets.attention_graphs import write_graph
from tests.openvino_here import EACH_DTYPE, HAS_BF16

LAYERS = ("fp32", "fp32")


def test_it_says_which_cpu_and_which_precisions() -> None:
    found = availability()
    assert (found.name, found.available, found.version, found.reason) == ("openvino", True, version("openvino"), None)
    assert found.does.startswith("runs graphs on the CPU (")
    assert found.does.endswith("in fp32 and bf16" if HAS_BF16 else "in fp32; it has no bf16")


def test_where_it_is_not_installed_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = availability()
    assert (found.available, found.version) == (False, None)
    assert how_to_install("openvino") in (found.reason or "")


@pytest.mark.parametrize("dtype", EACH_DTYPE)
@pytest.mark.parametrize("form", ["Attention", "Softmax", "Where"])
def test_attention_in_every_form_is_one_kernel(form: str, dtype: str, tmp_path: Path) -> None:
    done = compile_and_inspect(write_graph(tmp_path / "graph.onnx", form=form, layers=LAYERS), dtype, 1)
    assert (done.attention_fused, done.warnings) == (2, ())
    assert done.library_version == version("openvino")
    assert 0 < done.seconds < 60


@pytest.mark.parametrize("dtype", EACH_DTYPE)
def test_attention_whose_weights_are_also_read_elsewhere_is_no_kernel_of_its_own(dtype: str, tmp_path: Path) -> None:
    tail = "leak = ReduceMax<keepdims=0>(p0)"
    path = write_graph(tmp_path / "graph.onnx", form="Softmax", layers=LAYERS, tail=tail)
    model = ir.load(path)
    (leak,) = (value for node in model.graph for value in node.outputs if value.name == "leak")
    leak.dtype = ir.DataType.FLOAT
    model.graph.outputs.append(leak)
    ir.save(model, path)
    assert compile_and_inspect(path, dtype, 1).attention_fused == 1


def test_a_softmax_that_belongs_to_no_attention_is_not_counted(tmp_path: Path) -> None:
    tail = "shifted = Mul(mean, scale)\ngate = Softmax<axis=-1>(shifted)\nscaled = Mul(gate, mean)"
    path = write_graph(tmp_path / "graph.onnx", layers=LAYERS, output="unused", tail=tail)
    model = ir.load(path)
    (scaled,) = (value for node in model.graph for value in node.outputs if value.name == "scaled")
    scaled.dtype = ir.DataType.FLOAT
    model.graph.outputs.append(scaled)
    ir.save(model, path)
    assert compile_and_inspect(path, "fp32", 1).attention_fused == 2


def halved_distances(path: Path) -> Path:
    """Distances -> half of each, as an index into the rows of an identity matrix, in front of a matrix product."""
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 23]>
        halved (int64[n] distance, float[512,512] eye) => (float[n,512] row) {
            half = Constant<value_float=0.5>()
            a = Cast<to=1>(distance)
            b = Mul(a, half)
            c = Cast<to=7>(b)
            d = Gather(eye, c)
            row = MatMul(d, eye)
        }"""
    )
    eye = model.graph.inputs.pop()
    eye.const_value = ir.tensor(np.eye(512, dtype=np.float32), name="eye")
    model.graph.register_initializer(eye)
    ir.save(model, path)
    return path


@pytest.mark.parametrize("dtype", EACH_DTYPE)
def test_an_index_that_is_computed_in_bf16_is_told_and_is_wrong(dtype: str, tmp_path: Path) -> None:
    path = halved_distances(tmp_path / "graph.onnx")
    _, compiled = compile_graph(path, dtype=dtype)
    distance = np.arange(1024)
    (rows,) = compiled.create_infer_request().infer({"distance": distance}).values()
    mistaken = int((rows.argmax(axis=1) != distance // 2).sum())
    said = compile_and_inspect(path, dtype, 1).warnings
    if dtype == "fp32":
        assert (mistaken, said) == (0, ())
    else:
        assert mistaken > 0
        assert "1 index computations run in bf16" in said[0]


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.onnx cannot be loaded by openvino"):
        compile_and_inspect(tmp_path / "absent.onnx", "fp32", None)
