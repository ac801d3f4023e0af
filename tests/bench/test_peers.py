"""`python -m bench.peers --quick` as it is run, on a tiny model: every peer that lives in this environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import results as kept
from bench.batches import ON_PROCESSOR as WORKLOADS
from bench.document import document as written
from bench.exports import LEVELS
from bench.goals import verdicts
from bench.systems import OURS, STRATEGIES, our_label
from exporter.measure.memory import reset_peak
from tests.bench.fabricated import even, model, results
from tests.models import tiny_checkpoint

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RUNTIMES_HERE = ["PyTorch eager", "sentence-transformers", "poolfold onnxruntime fp32"]


def document(found):
    return written(found, WORKLOADS)


def bench(*arguments):
    """Run it from the root, where the modules are, whatever the tests' own working directory."""
    return subprocess.run(
        [sys.executable, "-m", "bench.peers", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    checkpoint = tiny_checkpoint(
        folder / "tiny", max_seq_length=512, config={"max_position_embeddings": 512}, dialect="old"
    )
    readme = README.read_text()
    # One thread: other tests run beside this one, and threads that wait for a core would only spin.
    ended = bench("--quick", "--threads", 1, "--model", checkpoint, "--build", folder / "build")
    assert ended.returncode == 0, ended.stderr
    assert README.read_text() == readme, "only results that are kept with the project go into its README"
    return ended, folder / "build" / "results"


def test_everything_is_measured_or_named_as_missing(done):
    found = kept.read(done[1] / "peers.json")
    (measured,) = found.models
    labels = {s.label for s in measured.systems}
    assert labels >= set(RUNTIMES_HERE)
    wanted = {our_label(target, dtype) for target, dtype in OURS} | {f"{label} onnxruntime fp32" for label in LEVELS}
    assert wanted <= labels | set(measured.missing)
    assert not labels & set(measured.missing)
    assert measured.missing["optimum O2 onnxruntime fp32"] == "left out by --quick"
    assert {(t.system, t.workload) for t in measured.timings} == {
        (s.name, workload) for s in measured.systems for workload in WORKLOADS
    }
    rounds = {w.name: w.rounds for w in measured.workloads}
    assert all(len(t.windows_ms) == rounds[t.workload] == 3 for t in measured.timings)
    assert all(min(t.windows_ms) > 0 for t in measured.timings)


def test_each_goal_is_judged_where_both_sides_ran(done):
    (measured,) = kept.read(done[1] / "peers.json").models
    found = [v for v in verdicts(measured) if v.target == "onnxruntime fp32"]
    assert found
    assert all(v.reached is not None and v.ratio.q1 <= v.ratio.median <= v.ratio.q3 for v in found)
    assert {v.peer for v in found} <= {"PyTorch eager", "torch.compile", "sentence-transformers"}


def test_memory_is_measured_too(done):
    (measured,) = kept.read(done[1] / "peers.json").models
    ours = [m for m in measured.memory if m.label == "poolfold onnxruntime fp32"]
    assert [m.strategy for m in ours] == list(STRATEGIES)
    if reset_peak():
        assert all(m.increase_bytes > 0 for m in ours)


def test_the_document_is_printed_and_kept_and_progress_goes_to_stderr(done):
    ended, folder = done
    text = document(kept.read(folder / "peers.json"))
    assert (folder / "peers.md").read_text() == text
    assert ended.stdout == text + "\n"
    assert "round 1 of 3, 32x128 ragged" in ended.stderr
    assert "without optimum onnxruntime fp32: left out by --quick" in ended.stderr


@pytest.mark.e2e
def test_the_documents_can_be_made_again(tmp_path):
    kept.write(results(model(even(1.0, 2.0))), tmp_path / "peers.json")
    assert bench("--render", "--results", tmp_path).returncode == 0
    assert (tmp_path / "peers.md").read_text() == document(results(model(even(1.0, 2.0))))


@pytest.mark.e2e
def test_there_must_be_results_to_make_documents_of(tmp_path):
    ended = bench("--render", "--results", tmp_path / "none")
    assert ended.returncode == 2
    assert "does not exist" in ended.stderr
