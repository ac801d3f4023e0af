import numpy as np
import pytest

from bench.gpu.probe import LEAST_S, Probed, probe
from bench.systems import Entry
from bench.turns import begun, in_turns
from bench.work import Size
from exporter.measure.memory import reset_peak
from exporter.measure.workloads import Batch, Workload
from poolfold.errors import CheckFailed

FAKES = "tests.exporter.measure.fake_systems"
EAGER = "PyTorch eager fp16"
SHAPES = ((1, 3), (4, 3))


def workload(rows, tokens):
    ones = np.ones((rows, tokens), np.int64)
    return Workload(f"{rows}x{tokens}", (Batch(ones, ones),))


def fake(function, label="fake", baseline="", **arguments):
    return Entry(label, "ours", "fake", "fp32", f"{FAKES}:{function}", arguments, ("mean",), baseline)


def run(function, limit_s=60.0, least=0.0, wanted=1.0, **arguments):
    loads, wanted = [workload(*shape) for shape in SHAPES], [[1, 1, 1, wanted]]
    reference = Probed([np.array(wanted * rows, np.float32) for rows, _ in SHAPES], None)
    return probe(fake(function, **arguments), loads, reference, "cpu", 1, limit_s, least)


def test_vectors_and_memory_of_one_that_runs():
    found, cosine = run("needs", mib=64, only_batch=4)
    assert cosine == pytest.approx(1.0)
    assert isinstance(found, Probed)
    assert [v.shape for v in found.vectors] == [(1, 4), (4, 4)]
    if reset_peak():
        # The block takes pages anew; a few that the process held before may be handed back meanwhile.
        assert 63 << 20 < found.increase_bytes < 80 << 20


def test_a_refusal_is_told_in_the_librarys_words():
    assert run("dies", at_call=0) == "no such model on Mars"


def test_a_death_and_a_hang_are_told_too():
    assert "died with exit code -9" in run("dies", at_call=1)
    assert "gave no answer within 6 s and was ended" in run("sleeps", seconds=60, limit_s=6)


def test_another_number_of_vectors_is_no_run():
    assert "got vectors of shape [1, 4], expected [4, 4]" in run("one_vector")


def test_parity_is_held_against_the_reference():
    assert run("sleeps", wanted=-1.0, seconds=0)[1] == pytest.approx(0.5)


@pytest.mark.skipif(not reset_peak(), reason="only Linux tells and resets a process's peak memory")
def test_what_took_no_memory_of_the_card_computed_elsewhere():
    assert run("sleeps", seconds=0, least=float(1 << 40)).endswith("it computed elsewhere")


def test_without_time_it_is_named_and_not_tried():
    assert run("sleeps", seconds=0, limit_s=LEAST_S - 1).startswith("not tried: the time was spent")


def turns(*entries):
    loads = [workload(1, 3)]
    empty = begun("a model", Size(1, 2, 3), "", loads, {})
    return in_turns(empty, entries, loads, threads=1, seconds=0.0, say=lambda what: None)


def test_one_that_dies_beside_the_others_is_named_and_they_go_on():
    found = turns(fake("sleeps", EAGER, seconds=0.01), fake("dies", "frail", EAGER, at_call=1))
    assert {t.system for t in found.timings} == {f"{EAGER}, mean"}
    assert found.missing["frail, mean"].startswith("not beside the others: measuring frail, mean:")
    (timing,) = found.timings
    assert len(timing.windows_ms) == found.workloads[0].rounds == 3
    assert min(timing.windows_ms) >= 10


def test_without_the_baseline_there_is_nothing_to_compare():
    with pytest.raises(CheckFailed, match=f"measuring {EAGER}, mean"):
        turns(fake("dies", EAGER, at_call=1), fake("sleeps", "steady", EAGER, seconds=0.01))
