"""Which rounds count: from given records of windows, and once beside real load."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.measure import disturbance, report
from exporter.measure.artifact_latency import warn_if_disturbed
from exporter.measure.disturbance import LIMIT, Watched
from exporter.measure.interleave import measure
from exporter.measure.schedule import MIN_ROUNDS
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
from poolfold.sessions.threads import allowed_cores
from tests.busy import busy_machine

SYSTEM = System("s", "mean", "fp32", "fake", "tests.exporter.measure.fake_systems:sleeps", {"seconds": 0.02}, "s")
WORKLOAD = Workload("2x4", (Batch(np.ones((2, 4), np.int64), np.ones((2, 4), np.int64)),))

WALL_S = st.floats(0.02, 5.0)


def alone(wall_s: float, threads: int, uses: float = 1.0) -> Watched:
    """A window in which the system used this share of its threads' time, and nobody else ran."""
    return Watched(wall_s, uses * threads * wall_s, 0.0)


@given(st.lists(WALL_S, min_size=1, max_size=9), st.integers(1, 8), st.floats(0.0, 1.0))
def test_a_system_alone_is_never_disturbed_however_much_its_threads_wait(
    walls: list[float], threads: int, uses: float
) -> None:
    windows = [alone(wall_s, threads, uses) for wall_s in walls]
    assert disturbance.shares(windows, threads, spare=0) == pytest.approx([0.0] * len(walls), abs=1e-9)


@given(WALL_S, st.integers(1, 8), st.floats(0.0, 1.0))
def test_time_that_others_took_shows_beside_the_round_that_nobody_disturbed(
    wall_s: float, threads: int, lost: float
) -> None:
    """The time that the system did not get: on a machine whose idle time is not known, it is the only sign."""
    windows = [alone(1.0, threads), Watched(wall_s, (1 - lost) * threads * wall_s, 0.0)]
    assert disturbance.shares(windows, threads, spare=0) == pytest.approx([0.0, lost])


@given(st.lists(WALL_S, min_size=1, max_size=9), st.integers(1, 8), st.floats(0.0, 1.0))
def test_a_machine_that_is_busy_all_along_shows_although_no_round_is_better(
    walls: list[float], threads: int, taken: float
) -> None:
    windows = [Watched(wall_s, (1 - taken) * threads * wall_s, taken * threads * wall_s) for wall_s in walls]
    assert disturbance.shares(windows, threads, spare=0) == pytest.approx([taken] * len(walls))


@given(WALL_S, st.integers(1, 8), st.integers(0, 8), st.floats(0.0, 16.0))
def test_others_on_cores_that_the_threads_leave_free_disturb_nothing(
    wall_s: float, threads: int, spare: int, cores: float
) -> None:
    (share,) = disturbance.shares([Watched(wall_s, threads * wall_s, cores * wall_s)], threads, spare)
    assert share == pytest.approx(max(0.0, cores - spare) / threads, abs=1e-9)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_calm_rounds_count_and_where_they_are_too_few_the_calmest_do_and_are_marked(shares: list[float]) -> None:
    rounds, disturbed = disturbance.counted(shares, MIN_ROUNDS)
    calm = [number for number, share in enumerate(shares) if share <= LIMIT]
    assert disturbed == (len(calm) < MIN_ROUNDS)
    assert rounds == sorted(set(rounds))
    if not disturbed:
        assert rounds == calm
    else:
        assert len(rounds) == min(MIN_ROUNDS, len(shares))
        assert set(calm) <= set(rounds)
        assert max(shares[n] for n in rounds) <= min(
            (shares[n] for n in range(len(shares)) if n not in rounds), default=1
        )


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=15),
    st.floats(1.0, 4.0),
    st.floats(1.2, 10.0),
)
def test_a_ratio_is_the_true_one_or_it_is_marked(
    disturbed: list[tuple[bool, bool]], ratio: float, slowed: float
) -> None:
    """Bursts hit the windows of one or the other of two systems, in any pattern, and slow them down."""
    own_s, base_s = 0.1, 0.1 * ratio
    hit, base_hit = zip(*disturbed, strict=True)
    found = report.timing(
        SYSTEM,
        WORKLOAD,
        [[own_s * (slowed if h else 1.0)] for h in hit],
        [[base_s * (slowed if h else 1.0)] for h in base_hit],
        [float(h) for h in hit],
        [float(h) for h in base_hit],
    )
    assert found.disturbed or found.speedup.median == pytest.approx(ratio)
    assert found.disturbed == (sum(not (a or b) for a, b in disturbed) < MIN_ROUNDS)


def test_without_the_watch_the_ratio_would_be_wrong_and_unmarked() -> None:
    """What the test above would miss if it could not fail: the same windows, and nobody who watched."""
    own, base = [[0.1]] * 5, [[0.14], [0.14], [0.487], [0.487], [0.487]]
    watched = report.timing(SYSTEM, WORKLOAD, own, base, [0.0] * 5, [0.0, 0.0, 0.7, 0.7, 0.7])
    assert watched.disturbed
    unwatched = report.timing(SYSTEM, WORKLOAD, own, base)
    assert unwatched.speedup.median == pytest.approx(4.87)


@pytest.mark.parametrize(("slowest", "marked"), [(0.12, False), (0.3, True)])
def test_times_that_vary_from_round_to_round_are_marked_whatever_the_counters_say(slowest: float, marked: bool) -> None:
    """A neighbour of a virtual machine shows in no counter of it."""
    varying, steady, calm = [[0.1], [0.1], [slowest], [slowest]], [[0.1]] * 4, [0.0] * 4
    assert report.timing(SYSTEM, WORKLOAD, varying, steady, calm, calm).disturbed is marked
    assert report.timing(SYSTEM, WORKLOAD, steady, varying, calm, calm).disturbed is marked


def test_the_summary_counts_windows_and_weighs_them_by_their_length() -> None:
    seen = disturbance.summary([(Watched(3.0, 3.0, 3.0), 0.5), (Watched(1.0, 2.0, 0.0), 0.0)], cores=2)
    assert (seen.windows, seen.disturbed, seen.others) == (2, 1, 3.0 / 8.0)
    assert str(seen) == "other programs took 38% of the processors' time, and 1 of 2 timed windows were disturbed"


def test_a_thread_that_works_is_no_other_program() -> None:
    start, end = disturbance.now(), time.thread_time() + 0.2
    while time.thread_time() < end:
        pass
    watched = disturbance.since(start)
    assert watched.processor_s >= 0.2
    assert watched.wall_s > 0


@pytest.mark.slow
def test_beside_real_load_every_time_is_marked() -> None:
    with busy_machine():
        found = measure([SYSTEM], [WORKLOAD], threads=allowed_cores(), budget_s=1, progress=lambda *_: None)
    assert [timing.disturbed for timing in found.timings] == [True]
    assert found.disturbance.disturbed == found.disturbance.windows
    assert found.disturbance.others > 0.5


def reported(shares: list[float], others: float) -> report.LatencyReport:
    """One system in so many rounds, of equal times."""
    timing = report.timing(SYSTEM, WORKLOAD, [[0.1]] * len(shares), [[0.1]] * len(shares), shares, shares)
    seen = disturbance.Disturbance(len(shares), len(shares) - len(disturbance.calm(shares)), others)
    return report.LatencyReport(
        systems=(), workloads=(), threads=1, pause_s=0.1, order_seed=0, budget_s=1, seconds=1.0, timings=(timing,),
        memory=(), left_out={}, environment={}, disturbance=seen,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.0] * 5, []),
        (
            [0.0, 0.9, 0.0, 0.9, 0.0],
            ["40% of the processors' time, and 2 of 5 timed windows were disturbed. They do not count"],
        ),
        ([0.9] * 5, ["and 5 of 5 timed windows were disturbed. 1 of 1 times are unreliable and marked as disturbed"]),
    ],
)
def test_the_warning_says_how_busy_the_machine_was_and_what_became_of_it(shares: list[float], said: list[str]) -> None:
    warned: list[str] = []
    warn_if_disturbed(reported(shares, 0.4), warned.append)
    assert len(warned) == len(said)
    assert all(part in message for part, message in zip(said, warned, strict=True))
