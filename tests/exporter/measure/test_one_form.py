"""Whether one form serves every batch: what is measured, in which order, and what follows from it. Nothing is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir
import pytest

from exporter.measure import one_form
from exporter.measure.one_form import compare_forms, fp32_bytes, large_graphs, seconds_of, with_findings
from exporter.spec.model import DType
from graphs.files.weights import save_graphs
from poolfold.manifest import Manifest, read_manifest
from poolfold.sessions import Session
from tests.graphs.build import GraphBuilder


def found(artifact: Path, manifest: Manifest, seconds: Sequence[Sequence[float]], **shares: Sequence[DType]):
    """The findings on one graph, where the visits, in their order, take these seconds."""
    visits = iter(seconds)
    return compare_forms(
        artifact,
        manifest,
        [graph for graph in manifest.graphs if (graph.strategy, graph.dtype) == ("mean", "fp32")],
        shares or {"onnxruntime": (DType.FP32,)},
        threads=1,
        progress=lambda *_: None,
        time_form=lambda *_: list(next(visits)),
    )


@pytest.mark.parametrize(
    ("padding_free", "serves_all"),
    [((1.05, 2.1, 4.2), True), ((1.06, 1.0, 1.0), False), ((1.0, 1.0, 4.3), False), ((0.5, 0.5, 0.5), True)],
)
def test_every_full_batch_must_be_as_fast(artifact: Path, padding_free: tuple[float, ...], serves_all: bool) -> None:
    """To 5 %: plain takes 1, 2 and 4 s, and each form's better visit counts."""
    manifest = read_manifest(artifact)
    slow = (9.0, 9.0, 9.0)
    (finding,) = found(artifact, manifest, [(1.0, 2.0, 4.0), slow, slow, padding_free])
    assert finding.serves_all is serves_all
    assert list(finding.ratios) == ["1x16", "1x64", "4x64"]  # this model takes 64 tokens
    graphs = with_findings(manifest.graphs, [finding])
    assert [(g.path, g.padding_free.serves_all) for g in graphs if g.padding_free and g.padding_free.serves_all] == (
        [("onnx/mean_fp32.onnx", ("onnxruntime",))] if serves_all else []
    )


def test_each_precision_counts_and_engines_do_not(artifact: Path) -> None:
    manifest = read_manifest(artifact)
    even, slow = (1.0, 1.0, 1.0), (1.0, 2.0, 1.0)
    findings = found(
        artifact,
        manifest,
        [*[even] * 4, *[even] * 4, even, slow, even, slow],
        **{"onnxruntime": (DType.FP32,), "tensorrt-rtx": (DType.FP16,), "openvino": (DType.FP32, DType.BF16)},
    )
    assert [(finding.target, finding.serves_all) for finding in findings] == [
        ("onnxruntime", True),
        ("openvino", False),
    ]
    assert str(findings[1]).endswith(
        "fp32 and bf16 on openvino: two forms, as padding-free takes 2.00x as long on 1x64"
    )


def test_one_session_is_open_at_a_time_and_the_forms_take_turns(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(artifact)
    opened: list[str] = []

    class Watched:
        open = 0

        def __init__(self, path: str) -> None:
            assert Watched.open == 0
            Watched.open += 1
            opened.append(path)

        def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
            assert (attention_mask == 1).all()
            return np.ones((len(input_ids), 4), np.float32)

        def close(self) -> None:
            Watched.open -= 1

    class Target:
        has_engine_files = False
        open = staticmethod(lambda opening: Watched(opening.path))

    monkeypatch.setattr(one_form, "find_target", lambda _: Target)
    graph = next(graph for graph in manifest.graphs if graph.padding_free)
    compare_forms(artifact, manifest, [graph], {"x": (DType.FP32,)}, threads=1, progress=lambda *_: None)
    assert graph.padding_free is not None
    assert opened == [graph.path, graph.padding_free.path] * 2


def test_a_session_that_fails_is_closed() -> None:
    closed: list[bool] = []

    class Fails:
        def run(self, *_: object) -> np.ndarray:
            raise RuntimeError("broken")

        def close(self) -> None:
            closed.append(True)

    make: Callable[[], Session] = Fails
    with pytest.raises(RuntimeError, match="broken"):
        seconds_of(make, [one_form.Batch(np.ones((1, 2), np.int64), np.ones((1, 2), np.int64))])
    assert closed == [True]


def test_weights_count_as_fp32_however_they_are_stored(tmp_path: Path) -> None:
    build = GraphBuilder()
    x = build.input("x", ir.DataType.FLOAT, "batch", 64)
    value = build.constant("w", np.ones((64, 64)))
    save_graphs({tmp_path / "wide.onnx": build.model(build.op("MatMul", x, value))}, tmp_path / "wide.bin")
    assert fp32_bytes(tmp_path / "wide.onnx") == 4 * 64 * 64
    assert (tmp_path / "wide.bin").stat().st_size == 4 * 64 * 64
    half = GraphBuilder()
    x = half.input("x", ir.DataType.FLOAT16, "batch", 64)
    value = half.constant("w", np.ones((64, 64)), np.float16)
    save_graphs({tmp_path / "half.onnx": half.model(half.op("MatMul", x, value))}, tmp_path / "half.bin")
    assert fp32_bytes(tmp_path / "half.onnx") == 4 * 64 * 64


def test_only_large_graphs_of_fp32_in_two_forms_are_asked(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = read_manifest(artifact).graphs
    assert large_graphs(artifact, graphs) == ()
    monkeypatch.setattr(one_form, "LEAST_BYTES", fp32_bytes(artifact / graphs[0].path))
    assert {graph.dtype for graph in large_graphs(artifact, graphs)} == {"fp32"}
    single = [msgspec.structs.replace(graph, padding_free=None) for graph in graphs]
    assert large_graphs(artifact, single) == ()
