"""Engines built beside other work: what the manifest says of them, and an end when nobody waits any more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporter.engines import engines_in_background, outcome, require_available
from exporter.spec import DType
from poolfold.errors import PoolfoldError, TargetUnavailable
from poolfold.manifest import Profile, Range, read_manifest
from tests.exporter.commands.copies import copy_with_one_graph

PROFILE = Profile(batch=Range(min=1, opt=2, max=2), seq_len=Range(min=1, opt=8, max=8))
ENGINE = "engines/tensorrt-rtx/mean_fp16.engine"


def test_a_target_that_is_not_here_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    require_available(["onnxruntime", "tensorrt-rtx"])
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    require_available(["onnxruntime"])
    with pytest.raises(TargetUnavailable, match=r"tensorrt-rtx is not available here.*pip install"):
        require_available(["onnxruntime", "tensorrt-rtx"])


def test_graphs_of_the_wanted_precision_become_engines(artifact: Path, tmp_path: Path) -> None:
    graphs = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16").graphs
    every = read_manifest(artifact).graphs  # the fp32 ones are passed over: their files are not in the copy
    assert {graph.dtype for graph in every} == {"fp32", "fp16"}
    listed = [*(graph for graph in every if graph.dtype == "fp32"), *graphs]
    with engines_in_background(tmp_path / "a", listed, (DType.FP16,), PROFILE) as building:
        pass
    (engine,) = building.result()
    assert (engine.path, engine.graph, engine.status) == (ENGINE, "onnx/mean_fp16.onnx", "built")
    assert (engine.strategy, engine.dtype, engine.profiles) == ("mean", "fp16", (PROFILE,))
    assert (tmp_path / "a" / ENGINE).stat().st_size > 10_000
    assert outcome([engine]) == "tensorrt-rtx mean fp16 plain: 2 of 2 attentions fused"


def test_nothing_wanted_is_nothing_built(artifact: Path) -> None:
    with engines_in_background(artifact, read_manifest(artifact).graphs, (), PROFILE) as building:
        assert building.result() == ()


def test_a_block_that_fails_ends_the_build(artifact: Path, tmp_path: Path) -> None:
    graphs = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16").graphs
    with (
        pytest.raises(KeyError, match="the block's own"),
        engines_in_background(tmp_path / "a", graphs * 50, (DType.FP16,), PROFILE) as building,
    ):
        raise KeyError("the block's own")
    assert type(building.exception()).__name__ == "_Cancelled"
    assert not (tmp_path / "a" / ENGINE).exists()


def test_a_build_that_fails_is_told_to_who_asks(artifact: Path, tmp_path: Path) -> None:
    graphs = copy_with_one_graph(artifact, tmp_path / "a", dtype="fp16").graphs
    (tmp_path / "a" / graphs[0].path).write_bytes(b"no graph")
    with (
        engines_in_background(tmp_path / "a", graphs, (DType.FP16,), PROFILE) as building,
        pytest.raises(PoolfoldError, match=r"mean_fp16\.onnx"),
    ):
        building.result()
