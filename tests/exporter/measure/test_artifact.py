import dataclasses
import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from exporter.host.console import Console
from exporter.measure import load_artifact, load_pytorch
from exporter.measure.interleave import measure
from exporter.measure.memory import reset_peak
from exporter.measure.systems import artifact_system, baseline_system
from exporter.measure.workloads import workloads
from exporter.model.checkpoint.read import read_spec
from exporter.pipeline.export_model import ExportOptions, export_model
from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType, Source
from exporter.spec.origin import NO_TRUST
from graphs.pooling.head import Cut
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import CheckFailed
from tests.conftest import TARGETS
from tests.models import tiny_checkpoint

MEAN = parse_strategy("mean")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    checkpoint, artifact = tiny_checkpoint(folder / "checkpoint"), folder / "artifact"
    options = ExportOptions(
        model=str(checkpoint),
        output=artifact,
        pooling=("mean",),
        dtypes=(DType.FP32, DType.FP16),
        targets=("onnxruntime",),
        shapes=None,
        texts=(),
        cut=Cut(),
        revision=None,
        force=False,
        skip_latency=True,
        bench_seconds=0,
        threads=1,
        trust=NO_TRUST,
        build=BuildOptions(),
    )
    export_model(options, Console(quiet=True))
    return read_spec(Source(str(checkpoint), checkpoint, None)), artifact


def test_graphs_of_an_artifact_are_measured_beside_pytorch(exported):
    spec, artifact = exported
    systems = [
        baseline_system(spec, MEAN, Cut()),
        artifact_system(artifact, MEAN, "fp32"),
        artifact_system(artifact, MEAN, "fp16"),
    ]
    loads = workloads(spec.text, spec.vocab_size, spec.tokenizer_json)
    found = measure(systems, loads, threads=1, budget_s=3, progress=lambda *_: None)

    assert [s.name for s in found.systems] == ["mean fp32 pytorch", "mean fp32 onnxruntime", "mean fp16 onnxruntime"]
    assert {(t.system, t.workload) for t in found.timings} == {(s.name, w.name) for s in systems for w in loads}
    for timing in found.timings:
        assert min(timing.windows_ms) > 0
        assert timing.speedup.median > 0
    assert {w.name: w.real_tokens for w in found.workloads} == {w.name: w.real_tokens for w in loads}
    assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["threads"] == 1
    if reset_peak():
        for memory in found.memory:
            assert memory.peak_bytes - memory.before_load_bytes == memory.increase_bytes > 0
        pytorch, fp32, _ = found.memory
        assert pytorch.before_load_bytes > fp32.before_load_bytes, "torch alone is bigger than the light runtime"


def test_each_runtime_is_measured_in_a_process_that_holds_no_other(openvino_artifact, checkpoint):
    spec = read_spec(Source(str(checkpoint), checkpoint, None))
    systems = [artifact_system(openvino_artifact, MEAN, "fp32", target) for target in TARGETS]
    (load,) = workloads(spec.text, spec.vocab_size, spec.tokenizer_json)[0].batches
    vectors = []
    for system, target, other in zip(systems, TARGETS, reversed(TARGETS), strict=True):
        module = system.load.partition(":")[0]
        loader = importlib.import_module(module)
        loader.prepare(**system.arguments)
        vectors.append(loader.load(**system.arguments, threads=1)(load.input_ids, load.attention_mask))
        code = (
            f"import sys, {module}; {module}.prepare(**{system.arguments!r})\n"
            f"assert {target!r} in sys.modules; sys.exit({other!r} in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0, module
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)


def test_both_sides_compute_the_same_vectors(exported):
    spec, artifact = exported
    reference = baseline_system(spec, MEAN, Cut())
    short = baseline_system(spec, MEAN, Cut(8, renormalize=False))
    graph = artifact_system(artifact, MEAN, "fp32")
    loads = workloads(spec.text, spec.vocab_size, spec.tokenizer_json)
    (ragged,) = next(w.batches for w in loads if "ragged" in w.name)
    threads = torch.get_num_threads()

    expected = load_pytorch.load(**reference.arguments, threads=threads)(ragged.input_ids, ragged.attention_mask)
    vectors = load_artifact.load(**graph.arguments, threads=threads)(ragged.input_ids, ragged.attention_mask)
    truncated = load_pytorch.load(**short.arguments, threads=threads)(ragged.input_ids, ragged.attention_mask)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_array_equal(truncated, expected[:, :8])
    assert np.abs(expected - expected[::-1]).max() > 1e-2, "the premise needs rows that differ"


def test_an_artifact_that_was_changed_is_not_measured(exported, tmp_path):
    spec, artifact = exported
    system = artifact_system(artifact, MEAN, "fp32")
    stray = artifact / "onnx" / "stray.onnx"
    stray.write_text("not in the manifest")
    try:
        with pytest.raises(CheckFailed, match=r"measuring mean fp32 onnxruntime: .*stray\.onnx"):
            measure(
                [dataclasses.replace(system, baseline=system.name)],
                workloads(spec.text, spec.vocab_size, spec.tokenizer_json)[:1],
                threads=1,
                budget_s=1,
                progress=lambda *_: None,
            )
    finally:
        stray.unlink()


def test_a_system_names_its_provider(tmp_path) -> None:
    system = artifact_system(tmp_path, MEAN, "fp16", provider="cuda")
    assert (system.name, system.runtime) == ("mean fp16 onnxruntime cuda", "onnxruntime cuda")
    assert system.arguments["provider"] == "cuda"
    assert "provider" not in artifact_system(tmp_path, MEAN, "fp16").arguments
