import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from poolfold.errors import ArtifactError, InputError
from poolfold.sessions.ort import OnnxRuntimeSession
from tests.artifacts import table, write_artifact
from tests.graphs.build import FLOAT, INT64, GraphBuilder

ROOT = Path(__file__).parents[3]
IDS = np.array([[2, 8, 3], [2, 3, 0]])
MASK = np.array([[1, 1, 1], [1, 1, 0]])


@pytest.mark.parametrize("token_type_ids", [False, True])
@pytest.mark.parametrize(("threads", "spinning"), [(None, True), (1, False), (2, False)])
def test_it_gives_the_graphs_vectors(tmp_path: Path, token_type_ids: bool, threads: int | None, spinning: bool):
    write_artifact(tmp_path / "DIR", token_type_ids=token_type_ids)
    session = OnnxRuntimeSession(tmp_path / "DIR/onnx/mean_fp32.onnx", threads=threads, spinning=spinning)
    vectors = session.run(IDS, MASK)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [table()[[2, 8, 3]].mean(axis=0), table()[[2, 3]].mean(axis=0)])


def test_a_closed_session_says_so(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    session = OnnxRuntimeSession(tmp_path / "DIR/onnx/mean_fp32.onnx")
    session.close()
    session.close()
    with pytest.raises(InputError, match="closed"):
        session.run(IDS, MASK)


@pytest.mark.parametrize("damage", ["gone", "empty", "truncated", "noise", "without weights", "short weights"])
def test_a_graph_that_cannot_be_loaded_is_an_artifact_error(tmp_path: Path, damage: str):
    write_artifact(tmp_path / "DIR")
    path, weights = tmp_path / "DIR/onnx/mean_fp32.onnx", tmp_path / "DIR/onnx/mean_fp32.onnx.data"
    expected = r"mean_fp32\.onnx cannot be loaded by onnxruntime"
    match damage:
        case "gone":
            path.unlink()
            expected = r"mean_fp32\.onnx cannot be read: No such file or directory"
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        case "noise":
            path.write_bytes(b"not a protobuf at all")
        case "without weights":
            weights.unlink()
            expected = r"mean_fp32\.onnx\.data cannot be read: No such file or directory"
        case "short weights":
            weights.write_bytes(weights.read_bytes()[:100])
            expected = r"mean_fp32\.onnx places the tensor 'table' at bytes 0 to 1024 of .*, which has 100\."
    with pytest.raises(ArtifactError, match=expected):
        OnnxRuntimeSession(path)


def write_bfloat16(folder: Path, values: np.ndarray) -> Path:
    """A graph that gives the rows of a bf16 table, float32 [rows, width], for the first id of each text."""
    build = GraphBuilder()
    ids, mask = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    table = ir.tensor(values.astype(ir.DataType.BFLOAT16.numpy()), name="table")
    build.constants.append(
        ir.Value(name="table", type=ir.TensorType(table.dtype), shape=ir.Shape(values.shape), const_value=table)
    )
    first = build.op("Gather", ids, build.constant("first", 0, np.int64), axis=1)
    rows = build.op("Cast", build.op("Gather", build.constants[0], first), to=FLOAT)
    one = build.op("Cast", build.op("ReduceMax", mask, build.constant("axis", [1], np.int64), keepdims=1), to=FLOAT)
    result = build.op("Mul", rows, one)
    result.name = "sentence_embedding"
    ir.save(build.model(result), folder / "g.onnx", external_data="w", size_threshold_bytes=128)
    return folder / "g.onnx"


def test_bfloat16_weights_are_used_where_they_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not handed over as files, of which ONNX Runtime makes copies."""
    values = np.arange(64 * 16, dtype=np.float32).reshape(64, 16)
    values[3, :4] = (-0.0, 1e-39, 3.3895314e38, -1.5)
    kept = values.astype(ir.DataType.BFLOAT16.numpy()).astype(np.float32)
    monkeypatch.delattr(ort.SessionOptions, "add_external_initializers_from_files_in_memory")
    vectors = OnnxRuntimeSession(write_bfloat16(tmp_path, values)).run(IDS + 1, MASK)
    np.testing.assert_array_equal(vectors.view(np.uint32), kept[[3, 3]].view(np.uint32))


def test_too_few_bytes_of_bfloat16_are_an_artifact_error(tmp_path: Path):
    path = write_bfloat16(tmp_path, np.ones((64, 16), np.float32))
    path.write_bytes(path.read_bytes().replace(b"2048", b"2046"))
    with pytest.raises(ArtifactError, match=r"gives the tensor 'table' 2046 bytes; expected uint16 \[64, 16\]"):
        OnnxRuntimeSession(path)


def test_a_graph_that_cannot_be_computed_is_an_artifact_error(tmp_path: Path):
    build = GraphBuilder()
    ids, _ = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    sevens = build.op("Reshape", build.op("Cast", ids, to=FLOAT), build.constant("shape", [7, -1], np.int64))
    sevens.name = "sentence_embedding"
    ir.save(build.model(sevens), tmp_path / "sevens.onnx")
    session = OnnxRuntimeSession(tmp_path / "sevens.onnx")
    with pytest.raises(
        ArtifactError, match=r"sevens\.onnx cannot be run by onnxruntime on input_ids \[2, 3\]: .*Reshape"
    ):
        session.run(IDS, MASK)


def test_an_operator_set_from_the_future_is_an_artifact_error(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    path = tmp_path / "DIR/onnx/mean_fp32.onnx"
    model = ir.load(path)
    model.graph.opset_imports[""] = 999
    ir.save(model, path, external_data="w", size_threshold_bytes=128)
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        OnnxRuntimeSession(path)


@pytest.mark.parametrize(("before", "after"), [("attention_mask", "mask"), ("sentence_embedding", "output")])
def test_other_names_are_an_artifact_error(tmp_path: Path, before: str, after: str):
    write_artifact(tmp_path / "DIR")
    path = tmp_path / "DIR/onnx/mean_fp32.onnx"
    model = ir.load(path)
    for value in [*model.graph.inputs, *model.graph.outputs]:
        if value.name == before:
            value.name = after
    ir.save(model, path, external_data="w", size_threshold_bytes=128)
    with pytest.raises(ArtifactError, match=f"'{after}'"):
        OnnxRuntimeSession(path)


def test_nothing_is_written_to_the_terminal(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    script = (
        "import sys, pathlib, numpy; from poolfold.sessions.ort import OnnxRuntimeSession;"
        "ids = numpy.ones((2, 3), numpy.int64); OnnxRuntimeSession(pathlib.Path(sys.argv[1])).run(ids, ids)"
    )
    path = tmp_path / "DIR/onnx/mean_fp32.onnx"
    done = subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
