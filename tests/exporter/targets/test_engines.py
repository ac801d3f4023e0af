"""Engines built beside other work, and in memory: what the manifest says of them, and an end when nobody waits."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from exporter.spec.model import DType
from exporter.targets.engines import EngineOrder, engines_in_background, make_engines, outcome, require_available
from poolfold.errors import PoolfoldError, TargetUnavailable
from poolfold.manifest import Profile, Range, read_manifest
from poolfold.sessions.openvino import PRECISIONS
from tests import openvino_here
from tests.exporter.commands.copies import copy_with_one_graph

PROFILE = Profile(batch=Range(min=1, opt=2, max=2), seq_len=Range(min=1, opt=8, max=8))
ORDERS = [EngineOrder("tensorrt-rtx", (DType.FP16,), (PROFILE,))]


def ignore(_what: str, _done: float) -> None:
    pass


ENGINE = "engines/tensorrt-rtx/mean_fp16.engine"


def test_a_target_that_is_not_here_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    every = {"onnxruntime": (DType.FP32,), "tensorrt-rtx": (DType.FP16,), "openvino": openvino_here.DTYPES}
    require_available(every)
    for library, target in (("tensorrt_rtx", "tensorrt-rtx"), ("openvino", "openvino")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(TargetUnavailable, match=rf"{target} is not available here.*pip install"):
            require_available({target: every[target]})
    require_available({"onnxruntime": (DType.FP32,)})


def test_a_precision_that_this_cpu_lacks_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRECISIONS, "fp8", "f8e4m3")  # in place of bf16, which this one may have
    with pytest.raises(TargetUnavailable, match=r"fp8 is not available in openvino.*Use dtype fp32"):
        require_available({"openvino": (DType.FP32, "fp8")})


def test_a_graph_is_compiled_in_each_precision(artifact: Path) -> None:
    graphs = read_manifest(artifact).graphs
    engines = make_engines(artifact, graphs, [EngineOrder("openvino", openvino_here.DTYPES, threads=1)], ignore)
    assert [(e.strategy, e.dtype, e.path, e.graph) for e in engines] == [
        (name, dtype, f"onnx/{name}_fp32.onnx", f"onnx/{name}_fp32.onnx")
        for dtype in openvino_here.DTYPES
        for name in ("mean", "cls")
    ]
    for engine in engines:
        assert (engine.target, engine.library, engine.status) == ("openvino", "openvino", "built")
        assert (engine.attention_layers, engine.attention_fused, engine.warnings) == (2, 2, ())
        assert (engine.compute_capabilities, engine.profiles) == ((), ())
        assert engine.library_version == version("openvino")


def test_attention_that_is_not_fused_is_counted_and_said(artifact: Path) -> None:
    graph = msgspec.structs.replace(read_manifest(artifact).graphs[0], attention_layers=3)
    (engine,) = make_engines(artifact, [graph], [EngineOrder("openvino", (DType.FP32,), threads=1)], ignore)
    assert (engine.attention_fused, engine.warnings) == (2, ("attention is not fused in 1 of 3 layers",))


def test_graphs_of_the_wanted_precision_become_engines(artifact: Path, tmp_path: Path) -> None:
    graphs = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16").graphs
    every = read_manifest(artifact).graphs  # the fp32 ones are passed over: their files are not in the copy
    assert {graph.dtype for graph in every} == {"fp32", "fp16"}
    listed = [*(graph for graph in every if graph.dtype == "fp32"), *graphs]
    with engines_in_background(tmp_path / "a", listed, ORDERS) as building:
        pass
    (engine,) = building.result()
    assert (engine.path, engine.graph, engine.status) == (ENGINE, "onnx/mean_fp16.onnx", "built")
    assert (engine.strategy, engine.dtype, engine.profiles) == ("mean", "fp16", (PROFILE,))
    assert (tmp_path / "a" / ENGINE).stat().st_size > 10_000
    assert outcome([engine]) == "tensorrt-rtx mean fp16; attention fused in 2 of 2 layers"


def test_nothing_wanted_is_nothing_built(artifact: Path) -> None:
    with engines_in_background(artifact, read_manifest(artifact).graphs, ()) as building:
        assert building.result() == ()


def test_a_block_that_fails_ends_the_build(artifact: Path, tmp_path: Path) -> None:
    graphs = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16").graphs
    with (
        pytest.raises(KeyError, match="the block's own"),
        engines_in_background(tmp_path / "a", graphs * 50, ORDERS) as building,
    ):
        raise KeyError("the block's own")
    assert type(building.exception()).__name__ == "_Cancelled"
    assert not (tmp_path / "a" / ENGINE).exists()


def test_a_build_that_fails_is_told_to_who_asks(artifact: Path, tmp_path: Path) -> None:
    graphs = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16").graphs
    (tmp_path / "a" / graphs[0].path).write_bytes(b"no graph")
    with (
        engines_in_background(tmp_path / "a", graphs, ORDERS) as building,
        pytest.raises(PoolfoldError, match=r"mean_fp16\.onnx"),
    ):
        building.result()
