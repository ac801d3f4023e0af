"""int8 and fp8 for engines: built, rehearsed on this CPU, and never called validated."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_ir as ir
import pytest

import poolfold
from exporter.commands.cli import run_command
from exporter.quantization.texts import _corpus
from exporter.spec.model import DType
from poolfold.errors import CheckFailed
from poolfold.manifest import read_manifest
from poolfold.verify import verify
from tests.conftest import export_here, once
from tests.gpu_here import without_gpu

pytestmark = pytest.mark.e2e

EIGHT_BITS = (DType.INT8, DType.FP8)
RTX = "tensorrt-rtx"


@pytest.fixture(scope="module")
def done(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT in int8 and fp8 for engines, and in int8 for ONNX Runtime beside them."""
    options = {"pooling": ("mean",), "dtypes": EIGHT_BITS, "targets": ("onnxruntime", RTX)}
    return once(tmp_path_factory, "engine-8-bits", lambda path: export_here(checkpoint, path, **options))


@without_gpu
def test_engines_are_built_and_their_graphs_rehearsed(done: Path) -> None:
    manifest = verify(done)
    kinds = {"int8": ir.DataType.INT8, "fp8": ir.DataType.FLOAT8E4M3FN}
    own = [graph for graph in manifest.graphs if graph.quantized and graph.quantized.target == RTX]
    assert {graph.path for graph in own} == {f"onnx/mean_{dtype}_tensorrt-rtx.onnx" for dtype in kinds}
    for graph in own:
        assert graph.status == "built"
        assert graph.weights == f"onnx/weights_{graph.dtype}_tensorrt-rtx.bin"
        assert set(graph.forms) == {"plain", "packed"}
        assert graph.quantized is not None
        assert graph.quantized.layers > 0
        assert graph.quantized.texts == len(_corpus())
        for path in graph.forms.values():
            nodes = list(ir.load(done / path).graph)
            rounded = [node for node in nodes if node.op_type == "QuantizeLinear"]
            assert rounded
            assert {node.outputs[0].dtype for node in rounded} == {kinds[graph.dtype]}
            assert [n.op_type for n in nodes].count("DequantizeLinear") == len(rounded) + graph.quantized.layers
    assert {(e.dtype, e.form, e.status) for e in manifest.engines} == {
        (dtype, form, "built") for dtype in kinds for form in ("plain", "packed")
    }
    for engine in manifest.engines:
        listed = {"int8": "int8", "fp8": "fp8_e4m3"}[engine.dtype]
        assert engine.contents is not None
        assert engine.contents.precisions[listed] > 0, engine.path
        assert engine.attention_fused == engine.attention_layers > 0
        able = ("8.9", "12.0") if engine.dtype == "fp8" else ("8.0", "8.6", "8.9", "12.0")
        assert engine.compute_capabilities == able
    rehearsed = [row for row in manifest.parity if row.ran_on.target == RTX]
    assert {(row.dtype, row.executor) for row in rehearsed} == {(d, "rehearsal on tensorrt-rtx cpu") for d in kinds}
    for row in rehearsed:
        assert 0.99 <= row.checks["cosine"].value < 1 - 1e-7
        assert row.checks["neighbours_mean"].value >= 0.9
    trials = json.loads((done / "reports" / "quantization.json").read_text())
    assert set(trials) == {"int8", "int8 for tensorrt-rtx", "fp8 for tensorrt-rtx"}
    assert all(tried[0]["kept"] == "" for tried in trials.values())


def test_the_cpus_graph_beside_them_is_its_own(done: Path) -> None:
    graphs = [graph for graph in read_manifest(done).graphs if graph.runs_on("onnxruntime")]
    assert {(graph.path, graph.status) for graph in graphs} == {("onnx/mean_int8.onnx", "validated")}
    with poolfold.load(done) as encoder:
        assert (encoder.dtype, encoder.target) == ("int8", "onnxruntime")


def test_a_floor_that_8_bits_cannot_hold_publishes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"fp8 for tensorrt-rtx does not hold --int8-floor 0\.99999.*leave fp8 out"):
        export_here(checkpoint, tmp_path / "out", dtypes=(DType.FP8,), targets=(RTX,), int8_floor=0.99999999)
    assert list(tmp_path.iterdir()) == []


def test_build_makes_them_again_and_only_of_graphs_made_for_them(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["build", str(done), "-o", str(tmp_path / "out"), "--strategy", "mean", "--dtype", "fp8", "--target", RTX]
    assert run_command([*one, "--compute-capability", "8.6"]) == 2
    assert "--compute-capability 8.6 has no fp8; expected 8.9 or more" in capsys.readouterr().err
    assert run_command([*one, "--compute-capability", "12.0", "--batch", "1:2:4"]) == 0
    for engine in verify(tmp_path / "out").engines:
        again = (engine.strategy, engine.dtype) == ("mean", "fp8")
        assert (engine.compute_capabilities == ("12.0",)) is again


def test_build_takes_no_graph_that_was_made_for_another_target(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_here(checkpoint, tmp_path / "out", dtypes=(DType.INT8,))
    assert run_command(["build", str(tmp_path / "out"), "--target", RTX]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"--target {RTX} builds fp16, int8 or fp8" in said
    assert f"Got graphs in none for it. Export the model with --target {RTX} --dtype fp16." in said
