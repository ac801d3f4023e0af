"""`python -m bench.gpu` as it is run: on a tiny model and a processor, and refused where there is no GPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from bench.batches import ON_GPU as WORKLOADS
from bench.results import read
from tests.models import tiny_checkpoint

ROOT = Path(__file__).parents[2]
KEPT = [ROOT / "bench/results" / name for name in ("gpu.json", "gpu.md")]
OURS, EAGER = "poolfold onnxruntime fp32", "PyTorch eager fp32"


def line(*arguments):
    return [sys.executable, "-m", "bench.gpu", *map(str, arguments)]


def variables(**more):
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])} | more


def bench(*arguments, **more):
    return subprocess.run(line(*arguments), cwd=ROOT, env=variables(**more), capture_output=True, text=True)


def kept():
    return [path.read_bytes() if path.is_file() else None for path in KEPT]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu") / "tiny"
    return tiny_checkpoint(folder, max_seq_length=128, config={"max_position_embeddings": 128}, dialect="old")


@pytest.fixture(scope="module")
def done(checkpoint):
    before, build = kept(), checkpoint.parent / "build"
    arguments = ("--pooling", "mean", "--no-compile", "--quick")
    ended = bench("--device", "cpu", "--model", checkpoint, "--build", build, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert kept() == before, "a trial is never kept with the project"
    return ended, build


@pytest.mark.e2e
def test_without_a_gpu_it_ends_with_3_and_measures_nothing(tmp_path):
    before = kept()
    ended = bench("--build", tmp_path, CUDA_VISIBLE_DEVICES="")
    assert ended.returncode == 3
    assert "finds no NVIDIA GPU" in ended.stderr
    assert "--device cpu" in ended.stderr
    assert kept() == before
    assert list(tmp_path.iterdir()) == []


def test_everything_is_measured_or_named_as_missing(done):
    ended, build = done
    results = read(build / "results" / "gpu.json")
    assert results.complete
    assert results.device == "cpu"
    assert results.environment["versions"]["torch"] == torch.__version__
    (model,) = results.models
    assert {s.label for s in model.systems} == {EAGER, OURS}
    assert model.missing["torch.compile fp32, mean"] == "left out by --no-compile"
    assert "has no tensorrt-rtx engine" in model.missing["poolfold tensorrt-rtx fp16, mean"]
    assert model.tensorrt_rtx.startswith("does not run: ")
    names = {s.name for s in model.systems}
    assert {(t.system, t.workload) for t in model.timings} == {(name, w) for name in names for w in WORKLOADS}
    assert all(s.smallest_cosine >= 1 - 1e-6 for s in model.systems)
    assert all(t.p90_ms >= 0.9 * min(t.windows_ms) for t in model.timings)
    assert all(len(t.windows_ms) >= 3 and min(t.windows_ms) > 0 for t in model.timings)
    assert (build / "results" / "gpu.md").read_text() == ended.stdout.removesuffix("\n")


def test_the_answer_comes_before_any_other_system_is_tried(done):
    said = done[0].stderr
    answer = said.index("does tensorrt-rtx load and run our engine on this card? It does not run: ")
    assert answer < said.index(f"{EAGER}, mean: runs")
    assert "| 1x128 | mean | 3.00 |" in said[answer:]


def test_another_models_artifact_fails_parity_and_ends_with_1(done, tmp_path):
    other = tiny_checkpoint(
        tmp_path / "other", max_seq_length=128, config={"max_position_embeddings": 128}, dialect="old", seed=1
    )
    artifact = done[1] / "tiny" / "artifact-cpu"
    arguments = ("--artifact", artifact, "--pooling", "mean", "--no-compile", "--quick")
    ended = bench("--device", "cpu", "--model", other, "--build", tmp_path / "build", *arguments)
    assert ended.returncode == 1
    assert "poolfold export for" not in ended.stderr
    (model,) = read(tmp_path / "build" / "results" / "gpu.json").models
    assert model.export == "given: artifact-cpu"
    cosines = {s.label: s.smallest_cosine for s in model.systems}
    assert cosines[OURS] < 0.9 < cosines[EAGER]
    assert "vectors fail parity" in ended.stderr


def test_a_kill_leaves_what_was_measured(done, checkpoint, tmp_path):
    artifact, path = done[1] / "tiny" / "artifact-cpu", tmp_path / "results" / "gpu.json"
    arguments = ("--artifact", artifact, "--pooling", "mean", "--no-compile", "--build", tmp_path)
    with subprocess.Popen(
        line("--device", "cpu", "--model", checkpoint, *arguments), cwd=ROOT, env=variables(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        until = time.monotonic() + 120
        while not (path.is_file() and (models := read(path).models) and len(models[0].systems) == 2):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    results = read(path)
    assert not results.complete
    assert {s.label for s in results.models[0].systems} == {EAGER, OURS}
    assert results.models[0].timings == ()
    assert "ended before it was complete" in path.with_suffix(".md").read_text()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


@pytest.mark.e2e
def test_an_artifact_for_each_model(checkpoint):
    ended = bench("--device", "cpu", "--model", checkpoint, "--artifact", "a", "b")
    assert ended.returncode == 2
    assert "got 2 --artifact for 1 models" in ended.stderr
