import pytest

from bench.gpu.batches import ALONE, FULL, RAGGED
from bench.gpu.goals import BEST, goals, verdicts
from tests.bench.gpu.fabricated import COMPILED, EAGER, ORT, RTX, model

TIMES = {EAGER: (9.0, 9.0, 12.0), COMPILED: (6.0, 6.0, 6.0), RTX: (3.0, 2.0, 4.0), ORT: (5.0, 5.0, 5.0)}


def judged(found, what, ours):
    return [v for v in verdicts(found) if (v.goal.what, v.ours) == (what, ours)]


def test_the_goals_are_those_of_the_ragged_batches_and_of_one_text():
    assert [(g.what, g.workload, g.peer, g.least) for g in goals("fp16")] == [
        ("ragged throughput", RAGGED[0], COMPILED, 1.5),
        ("ragged throughput", RAGGED[1], COMPILED, 1.5),
        ("batch 1 latency", ALONE, EAGER, 3.0),
    ]


def test_the_ratio_is_taken_round_by_round():
    (verdict,) = judged(model(lambda label, w: TIMES[label]), "batch 1 latency", RTX)
    # 9 / 3, 9 / 2, 12 / 4
    assert (verdict.ratio.q1, verdict.ratio.median, verdict.ratio.q3) == (3.0, 3.0, 3.75)
    assert verdict.reached
    assert verdict.margin == pytest.approx(0.0)


def test_a_miss_says_by_how_much():
    first, second = judged(model(lambda label, w: TIMES[label]), "ragged throughput", ORT)
    assert first.ratio.median == second.ratio.median == pytest.approx(1.2)
    assert first.reached is False
    assert first.margin == pytest.approx(1.2 / 1.5 - 1)


def test_each_goal_looks_at_its_own_workload_and_peer():
    def windows(label, workload):
        # Fast enough only on the goals' own workloads and beside the goals' own peers.
        if label == RTX:
            return [1.0] * 3 if workload not in FULL else [100.0] * 3
        return [3.0 if (label == EAGER) == (workload == ALONE) else 0.5] * 3

    found = [v for v in verdicts(model(windows)) if v.ours == RTX]
    assert [v.ratio.median for v in found] == [3.0, 3.0, 3.0]
    assert all(v.reached for v in found)


def test_the_best_of_ours_is_the_one_with_the_smallest_median():
    for verdict in judged(model(lambda label, w: TIMES[label]), "ragged throughput", BEST):
        assert verdict.fastest == RTX
    slow_rtx = TIMES | {RTX: (50.0,) * 3}
    for verdict in judged(model(lambda label, w: slow_rtx[label]), "ragged throughput", BEST):
        assert verdict.fastest == ORT


def test_a_single_one_of_ours_is_not_listed_as_the_best_too():
    found = model(lambda label, w: TIMES[label], labels=(EAGER, COMPILED, ORT))
    assert {v.ours for v in verdicts(found)} == {ORT}


def test_wrong_vectors_reach_nothing_however_fast():
    found = model(lambda label, w: TIMES[label], cosines={RTX: 0.9989})
    for verdict in judged(found, "ragged throughput", RTX):
        assert verdict.reached is None
        assert verdict.missing == "its vectors fail parity"
    assert all(v.fastest == ORT for v in verdicts(found) if v.ours == BEST)
    right = model(lambda label, w: TIMES[label], cosines={RTX: 0.999})
    assert all(v.reached is not None for v in verdicts(right))


def test_a_missing_peer_is_told_with_its_reason():
    found = model(lambda label, w: TIMES[label], missing={COMPILED: "no compiler here"})
    for verdict in judged(found, "ragged throughput", RTX):
        assert verdict.reached is None
        assert verdict.margin is None
        assert verdict.missing == f"{COMPILED}: no compiler here"
    (alone,) = judged(found, "batch 1 latency", RTX)
    assert alone.reached


def test_where_none_of_ours_runs_each_goal_is_still_listed():
    found = model(lambda label, w: TIMES[label], missing={RTX: "no", ORT: "no"})
    assert [(v.ours, v.missing) for v in verdicts(found)] == [(BEST, "none of ours ran")] * 3


def test_without_windows_nothing_is_judged():
    found = model(lambda label, w: TIMES[label], timed=False, failed="it hung")
    assert {(v.reached, v.missing.partition(": ")[2]) for v in verdicts(found)} == {(None, "it hung")}
