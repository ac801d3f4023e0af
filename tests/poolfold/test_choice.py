"""Which file of a form runs where."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from poolfold.choice import choose
from poolfold.manifest import Engine, Manifest
from poolfold.sessions.targets import find_target
from tests.artifacts import write_artifact

SLICED = "onnx/mean_fp32_sliced.onnx"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """A graph with a sliced form, which OpenVINO compiles too."""
    made = write_artifact(tmp_path / "a", engines=("tensorrt-rtx",))
    (graph,), (engine,) = made.graphs, made.engines
    openvino: Engine = msgspec.structs.replace(engine, target="openvino", dtype="fp32", graph=graph.path)
    return msgspec.structs.replace(
        made, graphs=(msgspec.structs.replace(graph, sliced={graph.path: SLICED}),), engines=(openvino,)
    )


@pytest.mark.parametrize(
    ("target", "provider", "path"),
    [
        ("onnxruntime", "cpu", SLICED),
        ("onnxruntime", "cuda", "onnx/mean_fp32.onnx"),
        ("openvino", "cpu", "onnx/mean_fp32.onnx"),
    ],
)
def test_onnx_runtime_alone_runs_slices_on_a_cpu(manifest: Manifest, target: str, provider: str, path: str) -> None:
    """OpenVINO gives wrong numbers for them."""
    choice = choose(Path("a"), manifest, find_target(target), "mean", "fp32", provider)
    assert choice.forms["plain"] == path


def test_a_sliced_form_belongs_to_its_graph(manifest: Manifest) -> None:
    assert manifest.graph_at(SLICED) is manifest.graphs[0]
