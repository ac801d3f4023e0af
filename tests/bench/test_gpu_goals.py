import pytest

from bench.batches import FULL, MANY, MANY_RAGGED, RAGGED
from bench.goals import BEST, verdicts
from tests.bench.fabricated import COMPILED, EAGER, ORT, RTX
from tests.bench.fabricated import gpu_model as model

ALONE = "1x128"
TIMES = {EAGER: (9.0, 9.0, 12.0), COMPILED: (6.0, 6.0, 6.0), RTX: (3.0, 2.0, 4.0), ORT: (5.0, 5.0, 5.0)}


def even(label, workload):
    return TIMES[label]


def judged(found, workload, target):
    (one,) = [v for v in verdicts(found) if (v.goal.workload, v.target) == (workload, target)]
    return one


def test_the_goals_are_those_of_the_ragged_batches_and_of_one_text():
    found = [(v.goal.workload, v.peer, v.goal.least) for v in verdicts(model(even)) if v.target == RTX]
    assert found == [(RAGGED, COMPILED, 1.5), (MANY_RAGGED, COMPILED, 1.5), (ALONE, EAGER, 3.0)]


def test_the_ratio_is_taken_round_by_round():
    verdict = judged(model(even), ALONE, RTX)
    # 9 / 3, 9 / 2, 12 / 4
    assert (verdict.ratio.q1, verdict.ratio.median, verdict.ratio.q3) == (3.0, 3.0, 3.75)
    assert verdict.reached


@pytest.mark.parametrize("workload", [RAGGED, MANY_RAGGED])
def test_a_miss_is_a_miss(workload):
    verdict = judged(model(even), workload, ORT)
    assert verdict.ratio.median == pytest.approx(1.2)
    assert verdict.reached is False


def test_each_goal_looks_at_its_own_workload_and_peer():
    def windows(label, workload):
        # Fast enough only on the goals' own workloads and beside the goals' own peers.
        if label == RTX:
            return [1.0] * 3 if workload not in (FULL, MANY) else [100.0] * 3
        return [3.0 if (label == EAGER) == (workload == ALONE) else 0.5] * 3

    found = [v for v in verdicts(model(windows)) if v.target == RTX]
    assert [v.ratio.median for v in found] == [3.0, 3.0, 3.0]
    assert all(v.reached for v in found)


def test_the_best_of_ours_is_the_one_with_the_smallest_median():
    assert judged(model(even), RAGGED, BEST).ours == RTX
    slow_rtx = TIMES | {RTX: (50.0,) * 3}
    assert judged(model(lambda label, w: slow_rtx[label]), RAGGED, BEST).ours == ORT


def test_a_single_one_of_ours_is_not_listed_as_the_best_too():
    assert {v.target for v in verdicts(model(even, labels=(EAGER, COMPILED, ORT)))} == {ORT}


def test_wrong_vectors_reach_nothing_however_fast():
    found = model(even, cosines={RTX: 0.9989})
    for workload in (RAGGED, MANY_RAGGED, ALONE):
        assert judged(found, workload, RTX).reached is None
        assert judged(found, workload, RTX).missing == f"{RTX}: vectors fail parity"
        assert judged(found, workload, BEST).ours == ORT
    assert all(v.reached is not None for v in verdicts(model(even, cosines={RTX: 0.999})))


def test_a_missing_peer_is_told_with_its_reason():
    found = model(even, missing={COMPILED: "no compiler here"})
    assert judged(found, RAGGED, RTX).reached is None
    assert judged(found, RAGGED, RTX).missing == f"{COMPILED}: no compiler here"
    assert judged(found, ALONE, RTX).reached


def test_where_none_of_ours_runs_each_goal_is_still_listed():
    found = model(even, missing={RTX: "no", ORT: "no"})
    assert [(v.target, v.missing) for v in verdicts(found)] == [(BEST, "none of ours ran")] * 3


def test_without_windows_nothing_is_judged():
    found = model(even, timed=False, failed="it hung")
    assert {(v.reached, v.missing.partition(": ")[2]) for v in verdicts(found)} == {(None, "it hung")}
