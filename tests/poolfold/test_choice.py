"""Which file of a form runs where."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from poolfold.choice import choose, runnables
from poolfold.errors import ArtifactError
from poolfold.manifest import Engine, Manifest, Quantized
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


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_graph_in_int8_runs_on_the_target_that_it_was_made_for(manifest: Manifest, target: str) -> None:
    made = {
        name: msgspec.structs.replace(
            manifest.graphs[0],
            path=f"onnx/{name}",
            dtype="int8",
            sliced={},
            quantized=Quantized(name, 0.99, texts=9, layers=4, kept=None, cosine=0.995, without=0.995),
        )
        for name in ("openvino", "onnxruntime")
    }
    engine = msgspec.structs.replace(manifest.engines[0], dtype="int8", path="onnx/openvino", graph="onnx/openvino")
    both = msgspec.structs.replace(
        manifest, graphs=(*manifest.graphs, *made.values()), engines=(*manifest.engines, engine)
    )
    assert choose(Path("a"), both, find_target(target), "mean", "int8").forms == {"plain": f"onnx/{target}"}
    assert choose(Path("a"), both, find_target(target), "mean", None).dtype == "fp32"
    assert both.graph("mean", "int8") is made["onnxruntime"]
    assert {(r.target, r.path) for r in runnables(both) if r.dtype == "int8"} == {(n, f"onnx/{n}") for n in made}


def test_an_artifact_for_another_target_alone_says_which_to_export_for(manifest: Manifest) -> None:
    made = Quantized("tensorrt-rtx", 0.99, texts=9, layers=4, kept=None, cosine=0.995, without=0.995)
    own = msgspec.structs.replace(manifest.graphs[0], dtype="fp8", sliced={}, quantized=made)
    alone = msgspec.structs.replace(manifest, graphs=(own,), engines=())
    with pytest.raises(ArtifactError, match=r"a has no graph for target onnxruntime and strategy mean\. Export the"):
        choose(Path("a"), alone, find_target("onnxruntime"), None, None)
