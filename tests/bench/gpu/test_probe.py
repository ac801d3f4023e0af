import numpy as np
import pytest

from bench.gpu import measuring
from bench.gpu.alone import LEAST_PROBE_S, Settings, probed
from bench.gpu.probe import Probed, calls, probe
from bench.gpu.systems import CPU, Candidate
from exporter.measure.memory import reset_peak
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
from tests.bench.gpu.fabricated import EAGER, model

FAKES = "tests.exporter.measure.fake_systems"
SETTINGS = Settings(CPU, ("mean",), compiled=False, quick=True, threads=1)


def workload(rows, tokens):
    ones = np.ones((rows, tokens), np.int64)
    return Workload(f"{rows}x{tokens}", (Batch(ones, ones),))


def fake(function, name="fake", **arguments):
    return System(name, "mean", "fp32", "fake", f"{FAKES}:{function}", arguments, baseline="fake")


def run(function, limit_s=60.0, **arguments):
    return probe(fake(function, **arguments), [workload(1, 3), workload(4, 3)], "cpu", 1, limit_s)


def test_vectors_calls_and_memory_of_one_that_runs():
    found = run("needs", mib=64, only_batch=4)
    assert isinstance(found, Probed)
    assert [v.shape for v in found.vectors] == [(1, 4), (4, 4)]
    assert [len(calls_ms) >= 3 for calls_ms in found.calls_ms] == [True, True]
    if reset_peak():
        # The block takes pages anew; a few that the process held before may be handed back meanwhile.
        assert 63 << 20 < found.increase_bytes < 80 << 20


def test_calls_are_milliseconds_and_as_many_as_the_time_allows():
    found = run("sleeps", seconds=0.05)
    for calls_ms in found.calls_ms:
        assert 3 <= len(calls_ms) <= 8
        assert min(calls_ms) >= 50
    assert (calls(10.0), calls(0.1), calls(1e-6)) == (3, 4, 200)


def test_a_refusal_is_told_in_the_librarys_words():
    assert run("dies", at_call=0) == "no such model on Mars"


def test_a_death_and_a_hang_are_told_too():
    assert "died with exit code -9" in run("dies", at_call=1)
    assert run("sleeps", seconds=60, limit_s=6) == "it was not done within 6 s and was ended"


def test_another_number_of_vectors_is_no_run():
    assert "got vectors of shape (1, 4) for 4 rows" in run("one_vector")


def one(function, wanted=1.0, limit_s=60.0, least=0.0, **arguments):
    reference = {"mean": [np.array([[1, 1, 1, wanted]], np.float32)]}
    candidate = Candidate("fake", True, fake(function, **arguments))
    return probed(candidate, [workload(1, 3)], reference, SETTINGS, limit_s, least)


def test_parity_is_held_against_the_reference():
    assert one("sleeps", seconds=0)[1] == pytest.approx(1.0)
    assert one("sleeps", wanted=-1.0, seconds=0)[1] == pytest.approx(0.5)


@pytest.mark.skipif(not reset_peak(), reason="only Linux tells and resets a process's peak memory")
def test_what_took_no_memory_of_the_card_computed_elsewhere():
    assert one("sleeps", seconds=0, least=float(1 << 40)).endswith("it computed elsewhere")


def test_without_time_it_is_named_and_not_tried():
    assert one("sleeps", seconds=0, limit_s=LEAST_PROBE_S - 1).startswith("not tried: the time was spent")


def in_turns(*candidates):
    empty = model(lambda label, w: [1.0], timed=False)
    return measuring.in_turns(empty, candidates, [workload(1, 3)], SETTINGS, 0.0, lambda what: None)


def candidate(label, function, **arguments):
    system = System(label, "mean", "fp32", "fake", f"{FAKES}:{function}", arguments, baseline=EAGER)
    return Candidate(label, label != EAGER, system)


def test_one_that_dies_beside_the_others_is_named_and_they_go_on():
    found = in_turns(candidate(EAGER, "sleeps", seconds=0.01), candidate("frail", "dies", at_call=1))
    assert {t.system for t in found.timings} == {EAGER}
    assert found.missing["frail"].startswith("ran alone, and not beside the others: measuring frail:")
    assert not found.failed
    (timing,) = found.timings
    assert len(timing.windows_ms) == 3
    assert timing.texts_per_s == pytest.approx(1e3 / timing.latency_ms.median)
    assert timing.real_tokens_per_s == pytest.approx(3e3 / timing.latency_ms.median)


def test_without_the_baseline_there_is_nothing_to_compare():
    found = in_turns(candidate(EAGER, "dies", at_call=1), candidate("steady", "sleeps", seconds=0.01))
    assert not found.timings
    assert f"measuring {EAGER}" in found.failed
