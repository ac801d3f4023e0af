"""Engines built by the real TensorRT-RTX library, which needs no GPU for it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import onnx_ir as ir
import pytest

from exporter.targets import engine_builder, plan_listing, tensorrt_rtx, trt_library, trt_network
from exporter.targets.attention_layers import Attention
from exporter.targets.trt_library import TENSORRT_RTX
from poolfold.errors import CheckFailed, InputError, TargetUnavailable, how_to_install
from poolfold.manifest import Profile, Range
from poolfold.sessions.tensorrt.library import log
from tests.exporter.targets.attention_graphs import HALF, write_graph

LIBRARY = trt_library.load(TENSORRT_RTX)
trt = LIBRARY.trt


def build_engine(graph, engine, profiles, progress=None, options=None):
    return engine_builder.build_engine(TENSORRT_RTX, graph, engine, profiles, options, progress)


def profile(batch=(1, 8, 32), seq_len=(1, 16, 64)) -> Profile:
    return Profile(
        batch=Range(**dict(zip(("min", "opt", "max"), batch, strict=True))),
        seq_len=Range(**dict(zip(("min", "opt", "max"), seq_len, strict=True))),
    )


def listed_kernels(engine: Path) -> str:
    return " ".join(m.decode() for m in re.findall(rb"function=\{ name=(\S*)", engine.read_bytes()))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rtx")
    graph = write_graph(folder / "graph.onnx")
    seen: list[tuple[str, float]] = []
    threads: set[str] = set()

    def progress(phase: str, done: float) -> None:
        seen.append((phase, done))
        threads.add(threading.current_thread().name)

    engine = folder / "engines" / "new" / "graph.engine"
    return graph, engine, build_engine(graph, engine, [profile()], progress), seen, threads


def test_an_engine_is_built_and_described(built):
    _, engine, build, _, _ = built
    assert engine.stat().st_size > 100_000
    assert (build.library, build.library_version) == ("tensorrt-rtx", trt.__version__)
    assert build.compute_capabilities == ("8.0", "8.6", "8.9", "12.0")
    assert (build.attention_layers, build.attention_fused) == (2, 2)
    assert 0 < build.build_seconds < 60
    assert build.warnings == ()
    assert [p.name for p in engine.parent.iterdir()] == ["graph.engine"]


def test_the_engine_itself_says_what_was_asked_of_it(built):
    _, engine, _, _, _ = built
    content = engine.read_bytes()
    targets = re.findall(rb"accelerators=\{(sm[^}]*)\}", content)
    assert [sorted(t.split()) for t in targets] == [[b"sm120", b"sm80", b"sm86", b"sm89"]]
    assert listed_kernels(engine).count("_mha") == 2
    assert "half" in plan_listing.precisions(memoryview(content))


def test_progress_rises_from_nothing_to_all(built):
    _, _, _, seen, threads = built
    fractions = [done for _, done in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] > 0.8
    assert len(set(fractions)) > 20
    assert "Building engine" in {phase for phase, _ in seen}
    assert threading.main_thread().name not in threads


def test_the_same_graph_gives_the_same_bytes(built, tmp_path):
    graph, engine, _, _, _ = built
    build_engine(graph, tmp_path / "again.engine", [profile()])
    assert (tmp_path / "again.engine").read_bytes() == engine.read_bytes()


def test_other_shapes_give_another_engine(built, tmp_path):
    graph, engine, _, _, _ = built
    build_engine(graph, tmp_path / "other.engine", [profile(batch=(4, 4, 4))])
    assert (tmp_path / "other.engine").read_bytes() != engine.read_bytes()


def test_weights_in_a_file_of_their_own(built, tmp_path):
    _, engine, _, _, _ = built
    graph = write_graph(tmp_path / "graph.onnx", external=True)
    assert (tmp_path / "graph.bin").stat().st_size > 10_000
    build = build_engine(graph, tmp_path / "graph.engine", [profile()])
    assert build.attention_fused == 2
    assert (tmp_path / "graph.engine").stat().st_size == engine.stat().st_size


@pytest.mark.parametrize("form", ["Softmax", "Where"])
def test_attention_in_pieces_is_fused_in_fp16(form, tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", form=form)
    build = build_engine(graph, tmp_path / "graph.engine", [profile()])
    assert (build.attention_layers, build.attention_fused, build.warnings) == (2, 2, ())


def test_attention_in_pieces_is_not_fused_in_fp32_and_the_nodes_are_named(tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", form="Softmax", layers=("fp32", "fp32"))
    build = build_engine(graph, tmp_path / "graph.engine", [profile()])
    assert (build.attention_layers, build.attention_fused) == (2, 0)
    assert [re.sub(r"node\S+", "NODE", w) for w in build.warnings] == ["attention is not fused in NODE (FLOAT)"] * 2
    content = (tmp_path / "graph.engine").read_bytes()
    assert "_mha" not in listed_kernels(tmp_path / "graph.engine")
    assert "half" not in plan_listing.precisions(memoryview(content))


def test_fp32_got_where_fp16_was_asked_is_refused(built, tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", form="Softmax", layers=("fp32", "fp32"))
    fp32 = build_engine(graph, tmp_path / "graph.engine", [profile()]).contents
    asked = trt_network.Types(has_half=True, fp32_nodes=0)
    with pytest.raises(CheckFailed, match=r"float16 weights and the kernels of the engine .* give float; expected"):
        engine_builder.require_half(LIBRARY, graph, asked, fp32)
    engine_builder.require_half(LIBRARY, graph, trt_network.Types(has_half=False, fp32_nodes=0), fp32)
    engine_builder.require_half(LIBRARY, graph, asked, built[2].contents)


def test_one_layer_of_two_is_counted_as_one_and_the_other_named(tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", form="Softmax", layers=("fp16", "fp32", "fp16"))
    build = build_engine(graph, tmp_path / "graph.engine", [profile()])
    assert (build.attention_layers, build.attention_fused) == (3, 2)
    (warning,) = build.warnings
    softmax = next(n for n in ir.load(graph).graph if n.outputs[0].name == "p1")
    assert (softmax.name or "p1") in warning


def test_a_layer_counts_only_if_it_is_fused_in_every_profile(tmp_path):
    graph = write_graph(tmp_path / "graph.onnx")
    profiles = [profile(batch=(1, 1, 1)), profile()]
    build = build_engine(graph, tmp_path / "graph.engine", profiles)
    assert (build.attention_layers, build.attention_fused) == (2, 2)
    content = memoryview((tmp_path / "graph.engine").read_bytes())
    assert listed_kernels(tmp_path / "graph.engine").count("_mha") == 4
    layers = [Attention(f"node_of_a{n}", "HALF", 16) for n in range(2)]
    assert plan_listing.unfused(content, layers, 2) == ()
    assert plan_listing.unfused(content, layers, 3) == tuple(layers)


def test_an_engine_that_lists_no_kernels_proves_nothing(built):
    _, engine, _, _, _ = built
    changed = engine.read_bytes().replace(b"function={ name=", b"FUNCTION={ NAME=")
    layer = Attention("node_of_a0", "HALF", 16)
    assert plan_listing.unfused(memoryview(changed), [layer], 1) is None
    other_kernel = engine.read_bytes().replace(b"name=_gemm_mha_v2", b"name=_gemm_sum_v2")
    assert plan_listing.unfused(memoryview(other_kernel), [layer], 1) == (layer,)


def test_fp32_attention_is_refused_with_the_node_and_what_to_do(tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", layers=("fp16", "fp32"))
    with pytest.raises(InputError, match=r"node \S*a1: got FLOAT with a head size of 16.*Export with --dtype fp16"):
        build_engine(graph, tmp_path / "graph.engine", [profile()])
    assert [p.name for p in tmp_path.iterdir()] == ["graph.onnx"]


def test_a_head_that_is_too_small_is_refused(tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", head_size=8)
    with pytest.raises(InputError, match=r"got HALF with a head size of 8; expected .* 16 to 256.*onnxruntime"):
        build_engine(graph, tmp_path / "graph.engine", [profile()])


def test_an_operator_that_the_parser_does_not_take_is_named(tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", tail="places = NonZero(attention_mask)")
    with pytest.raises(InputError, match=r"cannot parse .*graph\.onnx: node \d+ \(NonZero\): UNSUPPORTED_NODE"):
        build_engine(graph, tmp_path / "graph.engine", [profile()])


def test_what_is_no_graph_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        build_engine(tmp_path / "none.onnx", tmp_path / "a.engine", [profile()])
    (tmp_path / "text.onnx").write_text("not a graph")
    with pytest.raises(InputError, match=r"cannot parse .*text\.onnx"):
        build_engine(tmp_path / "text.onnx", tmp_path / "a.engine", [profile()])
    graph = write_graph(tmp_path / "graph.onnx", external=True)
    (tmp_path / "graph.bin").unlink()
    with pytest.raises(InputError, match=r"cannot parse .*graph\.onnx"):
        build_engine(graph, tmp_path / "a.engine", [profile()])
    assert not (tmp_path / "a.engine").exists()


@pytest.mark.parametrize("changes", [{"output_type": HALF}, {"output": "pooled"}])
def test_another_output_than_the_contract_says_is_refused(changes, tmp_path):
    graph = write_graph(tmp_path / "graph.onnx", **changes)
    with pytest.raises(CheckFailed, match=r"has outputs .*; expected sentence_embedding FLOAT alone"):
        build_engine(graph, tmp_path / "graph.engine", [profile()])


def test_a_network_that_lost_the_graphs_float16_is_refused(tmp_path):
    fp16 = write_graph(tmp_path / "fp16.onnx")
    fp32 = write_graph(tmp_path / "fp32.onnx", layers=("fp32", "fp32"))
    for parsed in (fp16, fp32):
        builder = trt.Builder(log(LIBRARY.trt))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt_network.parse(LIBRARY, network, parsed)
        if parsed is fp16:
            assert trt_network.check_types(LIBRARY, network, fp16).has_half
        else:
            assert trt_network.check_types(LIBRARY, network, fp32) == trt_network.Types(False, 0)
            with pytest.raises(CheckFailed, match="computes nothing in float16"):
                trt_network.check_types(LIBRARY, network, fp16)
        del parser


@pytest.mark.parametrize("numbers", [(2, 1, 4), (1, 8, 4), (0, 1, 1), (8, 4, 2), (-1, 2, 3)])
@pytest.mark.parametrize("flag", ["batch", "seq_len"])
def test_a_profile_that_does_not_rise_is_refused(numbers, flag, tmp_path):
    with pytest.raises(
        InputError, match=rf"--{flag.replace('_', '-')} {numbers[0]}:{numbers[1]}:{numbers[2]} does not"
    ):
        build_engine(tmp_path / "graph.onnx", tmp_path / "graph.engine", [profile(**{flag: numbers})])


def test_no_profile_is_refused(tmp_path):
    with pytest.raises(InputError, match="no optimisation profile"):
        build_engine(tmp_path / "graph.onnx", tmp_path / "graph.engine", [])


def test_an_error_in_the_progress_report_ends_the_build_and_comes_out(built, tmp_path):
    calls = []

    def progress(phase: str, done: float) -> None:
        calls.append(phase)
        if len(calls) == 3:
            raise RuntimeError("the terminal went away")

    with pytest.raises(RuntimeError, match="the terminal went away"):
        build_engine(built[0], tmp_path / "graph.engine", [profile()], progress)
    assert len(calls) == 3
    assert list(tmp_path.iterdir()) == []
    assert build_engine(built[0], tmp_path / "graph.engine", [profile()]).attention_fused == 2


INTERRUPTED = """
import signal, sys, threading, time
from pathlib import Path

from tests.exporter.targets.test_tensorrt_rtx import build_engine, profile

sent = threading.Event()

def progress(phase, done):
    if not sent.is_set():
        sent.set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.3)

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    build_engine(Path(sys.argv[1]), Path(sys.argv[2]), [profile()], progress)
except KeyboardInterrupt:
    print("ended by Ctrl-C" if sent.is_set() else "ended too early")
"""


def test_ctrl_c_ends_a_build_and_leaves_nothing(built, tmp_path):
    # A process of its own: a signal is no test's to send to all that share this one.
    command = [sys.executable, "-c", INTERRUPTED, str(built[0]), str(tmp_path / "graph.engine")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "ended by Ctrl-C\n"), ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_cannot_be_written_leaves_no_part_of_it(built, tmp_path):
    (tmp_path / "graph.engine").mkdir()
    with pytest.raises(OSError, match=r"graph\.engine"):
        build_engine(built[0], tmp_path / "graph.engine", [profile()])
    assert [p.name for p in tmp_path.iterdir()] == ["graph.engine"]


def test_builds_from_several_threads_wait_for_each_other(built, tmp_path):
    builds = {}

    def build(name: str) -> None:
        builds[name] = build_engine(built[0], tmp_path / name, [profile()])

    threads = [threading.Thread(target=build, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(builds) == ["a", "b", "c"]
    assert len({(tmp_path / name).read_bytes() for name in builds}) == 1


def test_without_the_library_the_target_is_unavailable_and_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(TargetUnavailable, match=r"pip install .*\[tensorrt-rtx\]'"):
        build_engine(tmp_path / "graph.onnx", tmp_path / "graph.engine", [profile()])
    found = tensorrt_rtx.availability()
    assert (found.available, found.version) == (False, None)
    assert how_to_install("tensorrt-rtx") in (found.reason or "")


def test_the_log_is_one_for_the_process():
    assert log(LIBRARY.trt) is log(LIBRARY.trt)
