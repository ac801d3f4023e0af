"""Graphs in the real OpenVINO: their vectors, the precision in effect, several threads, and nothing said to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from poolfold.errors import ArtifactError, InputError, TargetUnavailable
from poolfold.sessions import openvino
from poolfold.sessions.openvino import PRECISIONS, OpenVinoSession, compile_graph, load_library, require_precision
from poolfold.sessions.ort import OnnxRuntimeSession
from tests.artifacts import table, write_artifact
from tests.exporter.targets.attention_graphs import VOCAB, write_graph
from tests.graphs.build import FLOAT, INT64, GraphBuilder
from tests.openvino_here import CAPABILITIES, EACH_DTYPE, HAS_BF16, needs_bf16

ROOT = Path(__file__).parents[3]
IDS = np.array([[2, 8, 3], [2, 3, 0]])
MASK = np.array([[1, 1, 1], [1, 1, 0]])


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with matrix products and attention in it, whose vectors show a precision."""
    path = tmp_path_factory.mktemp("graph") / "graph.onnx"
    return write_graph(path, form="Softmax", layers=("fp32", "fp32"), external=True)


def batch(seed: int, rows: int, seq: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, seq + 1, (rows, 1))
    return rng.integers(0, VOCAB, (rows, seq)), (np.arange(seq) < lengths).astype(np.int64)


def kernels(compiled: Any) -> str:
    """The kernels of the matrix products and of what is fused around attention."""
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    heavy = ("FullyConnected", "MatMul", "Subgraph", "ScaledDotProductAttention")
    return " ".join(i["primitiveType"].astype(str) for i in infos if i["layerType"].astype(str) in heavy)


@pytest.mark.parametrize("token_type_ids", [False, True])
@pytest.mark.parametrize("threads", [None, 1, 2, 1024])
def test_it_gives_the_graphs_vectors(tmp_path: Path, token_type_ids: bool, threads: int | None) -> None:
    write_artifact(tmp_path / "DIR", token_type_ids=token_type_ids)
    session = OpenVinoSession(tmp_path / "DIR/onnx/mean_fp32.onnx", threads=threads)
    vectors = session.run(IDS, MASK)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [table()[[2, 8, 3]].mean(axis=0), table()[[2, 3]].mean(axis=0)], rtol=1e-6)


def test_a_graph_that_cannot_be_computed_is_an_artifact_error(tmp_path: Path) -> None:
    build = GraphBuilder()
    ids, _ = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    sevens = build.op("Reshape", build.op("Cast", ids, to=FLOAT), build.constant("shape", [-1, 7], np.int64))
    sevens.name = "sentence_embedding"
    ir.save(build.model(sevens), tmp_path / "sevens.onnx")
    session = OpenVinoSession(tmp_path / "sevens.onnx", threads=2)
    with pytest.raises(
        ArtifactError, match=r"sevens\.onnx on input_ids \[2, 3\] cannot be run by openvino: .*reshape.*\. Use target"
    ):
        session.run(IDS, MASK)


def test_fp32_is_fp32_where_openvino_itself_would_take_another(attention: Path) -> None:
    ids, mask = batch(0, 5, 17)
    expected = OnnxRuntimeSession(attention).run(ids, mask)
    np.testing.assert_allclose(OpenVinoSession(attention).run(ids, mask), expected, atol=1e-6)
    _, compiled = compile_graph(attention, dtype="fp32")
    assert "f32" in kernels(compiled)
    assert "bf16" not in kernels(compiled)
    if HAS_BF16:
        core = load_library().Core()
        assert "bf16" in kernels(core.compile_model(core.read_model(attention), "CPU")), "what it chooses by itself"


@needs_bf16
def test_bf16_is_bf16(attention: Path) -> None:
    ids, mask = batch(0, 5, 17)
    expected = OnnxRuntimeSession(attention).run(ids, mask)
    moved = np.abs(OpenVinoSession(attention, dtype="bf16").run(ids, mask) - expected).max()
    assert 1e-4 < moved < 1e-1
    assert "bf16" in kernels(compile_graph(attention, dtype="bf16")[1])


def test_a_precision_that_the_cpu_lacks_is_refused_and_not_replaced(
    attention: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRECISIONS, "fp8", "f8e4m3")  # no CPU has it
    with pytest.raises(TargetUnavailable, match=r"fp8 is not available in openvino \d.*offers .*FP32.*Use dtype fp32"):
        require_precision("fp8")
    with pytest.raises(TargetUnavailable, match="fp8 is not available"):
        OpenVinoSession(attention, dtype="fp8")


@needs_bf16
def test_a_precision_that_openvino_replaces_silently_is_found_out(
    attention: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "FP16" in CAPABILITIES:
        pytest.skip("this CPU has fp16, so nothing is replaced")
    monkeypatch.setitem(PRECISIONS, "bf16", "f16")
    with pytest.raises(TargetUnavailable, match=r"INFERENCE_PRECISION_HINT .*bfloat16.*; expected .*float16.*, for bf"):
        OpenVinoSession(attention, dtype="bf16")


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_compiled_as_documented(attention: Path, threads: int) -> None:
    _, compiled = compile_graph(attention, threads=threads)
    got = {name: compiled.get_property(name) for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT")}
    assert {name: str(value).rpartition(".")[2] for name, value in got.items()} == {
        "INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY",
    }  # fmt: skip
    assert compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == 0


def test_a_name_that_is_no_precision_is_refused(attention: Path) -> None:
    with pytest.raises(InputError, match="dtype is 'fp16'; expected one of fp32, bf16, int8"):
        OpenVinoSession(attention, dtype="fp16")


@pytest.mark.parametrize("form", ["Attention", "Where"])
def test_every_form_of_attention_and_mask_means_the_same(attention: Path, form: str, tmp_path: Path) -> None:
    other = write_graph(tmp_path / "graph.onnx", form=form, layers=("fp32", "fp32"))
    ids, mask = batch(2, 6, 21)
    expected = OpenVinoSession(attention).run(ids, mask)
    np.testing.assert_allclose(OpenVinoSession(other).run(ids, mask), expected, atol=1e-6)


def test_a_row_without_a_token_is_what_onnxruntime_makes_of_it(attention: Path) -> None:
    ids, mask = batch(1, 4, 9)
    mask[2] = 0
    with np.errstate(all="raise"):
        vectors = OpenVinoSession(attention).run(ids, mask)
    expected = OnnxRuntimeSession(attention).run(ids, mask)
    np.testing.assert_array_equal(np.isnan(vectors), np.isnan(expected))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", EACH_DTYPE)
def test_several_threads_at_once_get_their_own_vectors(attention: Path, dtype: str) -> None:
    session = OpenVinoSession(attention, dtype=dtype, threads=2)
    batches = [batch(seed, rows, seq) for seed, rows, seq in [(0, 1, 3), (1, 7, 5), (2, 2, 64), (3, 4, 1), (4, 9, 33)]]
    alone = [session.run(*one) for one in batches]
    start = threading.Barrier(8)

    def work(number: int) -> list[tuple[int, np.ndarray]]:
        start.wait()
        return [(i % 5, session.run(*batches[i % 5])) for i in range(number, number + 40)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for index, vectors in results:
                np.testing.assert_array_equal(vectors, alone[index])
    assert not np.allclose(alone[1][:2], alone[2], atol=1e-3), "the premise needs batches that differ"


def test_vectors_belong_to_who_asked_for_them(attention: Path) -> None:
    session = OpenVinoSession(attention)
    first = session.run(*batch(0, 3, 8))
    kept = first.copy()
    session.run(*batch(1, 3, 8))
    np.testing.assert_array_equal(first, kept)
    assert first.flags.c_contiguous
    assert first.flags.writeable
    session.close()
    np.testing.assert_array_equal(first, kept)


def test_a_closed_session_says_so(attention: Path) -> None:
    session = OpenVinoSession(attention)
    session.run(*batch(0, 1, 2))
    session.close()
    session.close()
    with pytest.raises(InputError, match="closed"):
        session.run(IDS, MASK)


def test_a_run_outlives_a_close_in_another_thread(attention: Path) -> None:
    session = OpenVinoSession(attention)
    long = batch(0, 32, 512)
    expected = session.run(*long)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.run, *long)
        while session._open[1]:  # until the run has taken the request that lies there
            pass
        session.close()
        np.testing.assert_array_equal(running.result(), expected)


@pytest.mark.parametrize("damage", ["gone", "empty", "truncated", "noise", "without weights", "short weights"])
def test_a_graph_that_cannot_be_loaded_is_an_artifact_error(tmp_path: Path, damage: str) -> None:
    write_artifact(tmp_path / "DIR")
    path, weights = tmp_path / "DIR/onnx/mean_fp32.onnx", tmp_path / "DIR/onnx/mean_fp32.onnx.data"
    expected = r"mean_fp32\.onnx cannot be loaded by openvino \d.*Use target onnxruntime"
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
    with pytest.raises(ArtifactError, match=expected):
        OpenVinoSession(path)


def test_an_operator_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    write_artifact(tmp_path / "DIR")
    path = tmp_path / "DIR/onnx/mean_fp32.onnx"
    model = ir.load(path)
    next(node for node in model.graph if node.op_type == "Div").op_type = "Divide"
    ir.save(model, path, external_data="w", size_threshold_bytes=128)
    with pytest.raises(ArtifactError, match="Divide"):
        OpenVinoSession(path)


@pytest.mark.parametrize(("before", "after"), [("attention_mask", "mask"), ("sentence_embedding", "output")])
def test_other_names_are_an_artifact_error(tmp_path: Path, before: str, after: str) -> None:
    write_artifact(tmp_path / "DIR")
    path = tmp_path / "DIR/onnx/mean_fp32.onnx"
    model = ir.load(path)
    for value in [*model.graph.inputs, *model.graph.outputs]:
        if value.name == before:
            value.name = after
    ir.save(model, path, external_data="w", size_threshold_bytes=128)
    with pytest.raises(ArtifactError, match=f"'{after}'"):
        OpenVinoSession(path)


def test_without_the_library_the_extra_is_named(attention: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(TargetUnavailable, match=r"openvino is not available here.*pip install .*\[openvino\]'"):
        OpenVinoSession(attention)


def test_nothing_is_said_to_the_terminal_the_network_or_the_home_folder(attention: Path, tmp_path: Path) -> None:
    script = """
import importlib.util, pathlib, sys, numpy
assert importlib.util.find_spec("openvino_telemetry"), "the premise: the telemetry is installed"
from poolfold.sessions.openvino import OpenVinoSession
ids = numpy.ones((2, 3), numpy.int64)
OpenVinoSession(pathlib.Path(sys.argv[1])).run(ids, ids)
assert "openvino.tools.ovc.telemetry_stub" in sys.modules
assert "openvino_telemetry" not in sys.modules
"""
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", script, attention],
        cwd=ROOT, env=variables | {"HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_what_the_user_imported_stays_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = type(sys)("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    assert openvino.load_library() is sys.modules["openvino"]
    assert sys.modules["openvino_telemetry"] is theirs
