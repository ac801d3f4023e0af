"""What is to be checked of an artifact, and what may be called validated afterwards."""

from __future__ import annotations

from pathlib import Path

import msgspec

from exporter.parity.report import ParityReport
from exporter.parity.validation import candidates, engines_to_check, mark_validated
from poolfold.manifest import Executor, Manifest, Quantized
from tests.artifacts import write_artifact
from tests.gpu_here import without_gpu

RTX_REHEARSAL = "rehearsal on tensorrt-rtx cpu"


def artifact(directory: Path) -> Manifest:
    """A strategy in two precisions on ONNX Runtime, in two on OpenVINO, and an engine that cannot run."""
    manifest = write_artifact(directory, dtypes=("fp32", "fp16"), engines=("tensorrt-rtx",))
    ours = msgspec.structs.replace(manifest.engines[0], target="openvino", graph=manifest.graphs[0].path)
    return msgspec.structs.replace(
        manifest,
        graphs=tuple(msgspec.structs.replace(graph, status="built") for graph in manifest.graphs),
        engines=(
            *(msgspec.structs.replace(ours, dtype=dtype) for dtype in ("fp32", "bf16")),
            *manifest.engines,
        ),
    )


def report(dtype: str, executor: str, *, passed: bool = True) -> ParityReport:
    return ParityReport("PyTorch", "mean", dtype, Executor.parse(executor), passed, 1, 4, 8, (), ())


@without_gpu
def test_all_that_runs_is_a_candidate_and_fp16_is_rehearsed(tmp_path: Path) -> None:
    manifest = artifact(tmp_path / "a")
    listed = [(c.runs.strategy, c.runs.dtype, str(c.executor)) for c in candidates(manifest)]
    assert listed == [
        ("mean", "fp32", "onnxruntime cpu"),
        ("mean", "fp16", "onnxruntime cpu"),
        ("mean", "fp16", "fp16 rehearsal on onnxruntime cpu"),
        ("mean", "fp32", "openvino cpu"),
        ("mean", "bf16", "openvino cpu"),
    ]
    assert {c.runs.path for c in candidates(manifest, ["openvino"])} == {"onnx/mean_fp32.onnx"}
    assert [str(c.executor) for c in candidates(manifest, ["openvino"])] == ["openvino cpu"] * 2
    assert candidates(manifest, ["tensorrt-rtx"]) == ()


def test_only_what_passed_on_its_own_target_is_called_validated(tmp_path: Path) -> None:
    manifest = artifact(tmp_path / "a")
    reports = [
        report("fp32", "onnxruntime cpu"),
        report("fp16", "onnxruntime cpu"),
        report("fp16", "fp16 rehearsal on onnxruntime cpu", passed=False),
        report("bf16", "openvino cpu"),
    ]
    graphs, engines = mark_validated(manifest.graphs, manifest.engines, reports)
    assert [(graph.dtype, graph.status) for graph in graphs] == [("fp32", "validated"), ("fp16", "built")]
    assert [(engine.target, engine.dtype, engine.status) for engine in engines] == [
        ("openvino", "fp32", "built"),
        ("openvino", "bf16", "validated"),
        ("tensorrt-rtx", "fp16", "built"),
    ]


@without_gpu
def test_a_graph_that_engines_alone_run_is_rehearsed_and_stays_built(tmp_path: Path) -> None:
    manifest = artifact(tmp_path / "a")
    made = Quantized(target="tensorrt-rtx", floor=0.99, texts=9, layers=4, kept=None, cosine=1, without=1)
    graph = msgspec.structs.replace(manifest.graphs[0], path="onnx/own.onnx", dtype="fp8", quantized=made)
    manifest = msgspec.structs.replace(manifest, graphs=(*manifest.graphs, graph))
    (own,) = (c for c in candidates(manifest) if c.runs.path == graph.path)
    assert (own.runs.target, own.runs.dtype, str(own.executor)) == ("tensorrt-rtx", "fp8", RTX_REHEARSAL)
    assert own.executor == Executor.parse(RTX_REHEARSAL)
    assert graph.path not in {c.runs.path for c in candidates(manifest, ["onnxruntime"])}
    graphs, engines = mark_validated(manifest.graphs, manifest.engines, [report("fp8", RTX_REHEARSAL)])
    assert (graphs[-1].status, engines[-1].status) == ("built", "built")
    (ran,), _ = mark_validated([graph], (), [report("fp8", RTX_REHEARSAL), report("fp8", "tensorrt-rtx gpu")])
    assert ran.status == "validated"


@without_gpu
def test_no_engine_is_checked_where_no_gpu_is(tmp_path: Path) -> None:
    assert engines_to_check(artifact(tmp_path / "a").engines) == ()


def test_on_a_gpu_provider_plain_forms_are_checked_and_nothing_is_rehearsed(tmp_path: Path) -> None:
    listed = [(c.runs.dtype, str(c.executor)) for c in candidates(artifact(tmp_path / "a"), ["onnxruntime"], "cuda")]
    assert listed == [("fp32", "onnxruntime cuda"), ("fp16", "onnxruntime cuda")]


def test_an_engine_is_validated_in_the_form_that_was_checked_and_not_beside_a_failure(tmp_path: Path) -> None:
    manifest = artifact(tmp_path / "a")
    plain = manifest.engines[-1]
    both = (plain, msgspec.structs.replace(plain, form="packed"))
    passed, packed = report("fp16", "tensorrt-rtx gpu"), report("fp16", "tensorrt-rtx gpu, packed")
    failed = report("fp16", "tensorrt-rtx gpu, packed", passed=False)
    for reports, statuses in (
        ([passed], ["validated", "built"]),
        ([packed], ["built", "validated"]),
        ([passed, packed], ["validated", "validated"]),
        ([passed, failed], ["built", "built"]),
        ([report("fp16", "onnxruntime cpu")], ["built", "built"]),
    ):
        _, engines = mark_validated((), both, reports)
        assert [engine.status for engine in engines] == statuses
