import dataclasses
import json
import math
import re
import statistics
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.measure import report
from exporter.measure.interleave import measure
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
from poolfold.errors import CheckFailed, InputError


def quiet(done, total, what):
    pass


def fake(name, baseline, function="sleeps", **arguments):
    return System(name, "mean", "fp32", "fake", f"tests.exporter.measure.fake_systems:{function}", arguments, baseline)


def workload(batch, seq_len, name=None):
    mask = np.ones((batch, seq_len), np.int64)
    mask[0, seq_len // 2 :] = 0
    return Workload(name or f"{batch}x{seq_len}", (Batch(np.ones_like(mask), mask),))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    calls = tmp_path_factory.mktemp("measure") / "calls"
    log = str(calls)
    steps = []
    systems = [fake("slow", "slow", seconds=0.06, log=log), fake("fast", "slow", seconds=0.02, log=log)]
    loads = [workload(1, 8), workload(4, 16)]
    found = measure(systems, loads, threads=1, budget_s=4, progress=lambda *step: steps.append(step))
    return found, [line.split() for line in calls.read_text().splitlines()], steps


def test_every_number_follows_from_the_windows(measured):
    found, _, _ = measured
    assert [(t.system, t.workload) for t in found.timings] == [
        ("slow", "1x8"), ("fast", "1x8"), ("slow", "4x16"), ("fast", "4x16"),
    ]  # fmt: skip
    assert found.timings[1].calls_per_window > found.timings[0].calls_per_window == 2
    for t in found.timings:
        shape = next(w for w in found.workloads if w.name == t.workload)
        base = next(b for b in found.timings if (b.system, b.workload) == ("slow", t.workload))
        assert len(t.windows_ms) == shape.rounds >= 3
        assert len(t.disturbance) == shape.rounds
        kept = [t.windows_ms[number] for number in t.rounds]
        assert t.latency_ms.median == pytest.approx(statistics.median(kept))
        ratios = [base.windows_ms[number] / t.windows_ms[number] for number in t.rounds]
        assert t.speedup.median == pytest.approx(statistics.median(ratios))
        assert t.sentences_per_s == pytest.approx(shape.batch / t.latency_ms.median * 1e3)
        assert t.tokens_per_s == pytest.approx(shape.real_tokens / t.latency_ms.median * 1e3)
        assert t.latency_ms.q1 <= t.latency_ms.median <= t.latency_ms.q3
    assert {w.name: w.real_tokens for w in found.workloads} == {"1x8": 4, "4x16": 56}
    assert [t.speedup.median for t in found.timings if t.system == "slow"] == [1.0, 1.0]
    assert min(found.timings[0].windows_ms) >= 60
    assert min(found.timings[1].windows_ms) >= 20


def test_the_systems_take_turns(measured):
    found, calls, _ = measured
    assert len({pid for pid, _, _ in calls}) == 2, "each system has a process of its own"
    calls_per_window = {(t.system, t.workload): t.calls_per_window for t in found.timings}
    pids = {"slow": calls[0][0]}
    pids["fast"] = next(pid for pid, _, _ in calls if pid != pids["slow"])
    warm_up = 2 * (3 + 2)
    windows = [(pid, shape) for pid, shape, _ in calls[warm_up:]]
    untimed = {"slow": 0, "fast": 1}
    for name, pid in pids.items():
        for shape in found.workloads:
            made = windows.count((pid, shape.name))
            assert made == shape.rounds * (calls_per_window[name, shape.name] + untimed[name])
    for shape in found.workloads:
        runs = [key for key, _ in groupby(pid for pid, name in windows if name == shape.name)]
        # Without turns there would be two runs of calls; with a fresh order each round, at least one a round.
        assert len(runs) > shape.rounds


def test_the_report_is_json_and_states_its_conditions(measured):
    found, _, _ = measured
    told = json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))
    assert told["threads"] == 1
    assert told["pause_s"] == 0.1
    assert told["left_out"] == {}
    assert told["environment"]["versions"]["numpy"] == np.__version__
    assert told["environment"]["cores"] >= 1
    assert {"load_average_before", "load_average_after", "cpu"} <= told["environment"].keys()
    assert [m["workload"] for m in told["memory"]] == ["4x16", "4x16"], "memory is taken on the biggest workload"
    assert told["seconds"] > sum(sum(t["windows_ms"]) * t["calls_per_window"] for t in told["timings"]) / 1e3


def test_progress_counts_warm_ups_and_windows(measured):
    found, _, steps = measured
    windows = sum(w.rounds for w in found.workloads) * 2
    assert [(done, total) for done, total, _ in steps[:2]] == [(0, 2), (1, 2)]
    # Rounds that others disturbed are repeated, beyond what was planned.
    assert [done for done, _, _ in steps[2:]] == list(range(windows))
    assert all(total > done for done, total, _ in steps)


def test_strategies_of_one_model_share_its_process_and_its_windows(tmp_path):
    log = str(tmp_path / "calls")
    shared = {"forward_s": 0.02, "pools_s": {"cls": 0.0, "mean": 0.02}, "log": log}
    systems = [
        dataclasses.replace(fake(f"peer {strategy}", "peer cls", "pools", **shared), strategy=strategy, process="peer")
        for strategy in ("cls", "mean")
    ]
    other = fake("other", "peer cls", seconds=0.02)
    found = measure([*systems, other], [workload(1, 8)], threads=1, budget_s=1, progress=quiet)
    cls, mean, _ = found.timings
    assert (cls.system, mean.system) == ("peer cls", "peer mean")
    assert len(cls.windows_ms) == len(mean.windows_ms) == found.workloads[0].rounds
    assert all(20 <= c < m >= 40 for c, m in zip(cls.windows_ms, mean.windows_ms, strict=True))
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert len(set(calls)) == 1, "the two share a process"
    assert len(calls) == 3 + found.workloads[0].rounds * (1 + cls.calls_per_window)


def test_a_workload_past_the_budget_is_left_out_and_named():
    """From two sizes, since the first says nothing of what a token costs, and the first call of all nothing at all."""
    system = fake("only", "only", "reads", first_s=0.6, fixed_s=0.01, per_token_s=0.001)
    loads = [workload(1, 8), workload(1, 16), workload(1, 800)]
    found = measure([system], loads, threads=1, budget_s=1, progress=quiet)
    assert [w.name for w in found.workloads] == ["1x8", "1x16"]
    assert re.fullmatch(r"needs at least \d s of a budget of 1 s", found.left_out["1x800"])
    assert found.memory[0].workload == "1x16"


def test_a_first_call_that_takes_long_leaves_nothing_out():
    """Weights that are paged in: 0.6 s for the first call, 1 ms for each after it."""
    system = fake("only", "only", "reads", first_s=0.6, fixed_s=0.001, per_token_s=0.0)
    found = measure([system], [workload(1, 8), workload(1, 8000)], threads=1, budget_s=1, progress=quiet)
    assert found.left_out == {}
    assert [timing.latency_ms.q3 < 600 for timing in found.timings] == [True, True]


def test_without_time_to_load_the_reason_is_said():
    with pytest.raises(CheckFailed, match="while the systems were loading"):
        measure([fake("a", "a", seconds=0)], [workload(1, 8)], threads=1, budget_s=0, until=0.0, progress=quiet)


def test_a_system_that_dies_ends_the_measurement_with_its_name():
    systems = [fake("well", "well", seconds=0), fake("ill", "well", "dies", at_call=4)]
    with pytest.raises(CheckFailed, match="measuring ill"):
        measure(systems, [workload(1, 8)], threads=1, budget_s=1, progress=quiet)


@pytest.mark.parametrize(
    ("systems", "names", "message"),
    [
        ([], ["1x8"], "0 systems and 1 workloads"),
        ([("a", "a")], [], "1 systems and 0 workloads"),
        ([("a", "a"), ("a", "a")], ["1x8"], "system comes twice"),
        ([("a", "a")], ["1x8", "1x8"], "workload comes twice"),
        ([("a", "b")], ["1x8"], "a is compared with b, which is not measured"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_process_starts(systems, names, message):
    with pytest.raises(InputError, match=message):
        measure(
            [fake(name, base, "no_such_function") for name, base in systems],
            [workload(1, 8, name) for name in names],
            threads=1,
            budget_s=1,
            progress=quiet,
        )


def test_numbers_of_known_windows():
    system = fake("s", "b")
    found = report.timing(
        system,
        workload(4, 16),
        seconds=[[0.010, 0.020, 0.030], [0.040, 0.040, 0.040], [0.050, 0.010, 0.010]],
        baseline=[[0.040, 0.040, 0.090], [0.040, 0.040, 0.040], [0.001, 0.030, 0.030]],
    )
    assert found.windows_ms == (20.0, 40.0, 10.0)
    assert found.latency_ms == report.Quartiles(15.0, 20.0, 30.0)
    assert found.speedup == report.Quartiles(1.5, 2.0, 2.5)
    assert found.p90_ms == pytest.approx(42.0)
    assert found.sentences_per_s == pytest.approx(200.0)
    assert found.tokens_per_s == pytest.approx(56 / 0.020)


def test_a_ratio_of_medians_would_hide_what_the_ratio_of_each_round_shows():
    rounds = [[1.0], [2.0], [4.0]]
    halved = [[r[0] / 2] for r in rounds]
    assert report.timing(fake("s", "b"), workload(1, 8), halved, rounds).speedup == report.Quartiles(2.0, 2.0, 2.0)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30))
def test_quartiles_hold_their_shares(values):
    found = report.quartiles(values)
    slack = 1e-9 * max(values)
    for q, share in ((found.q1, 0.25), (found.median, 0.5), (found.q3, 0.75)):
        place = share * (len(values) - 1)
        assert sum(v <= q + slack for v in values) >= math.floor(place) + 1
        assert sum(v >= q - slack for v in values) >= len(values) - math.ceil(place)


def test_memory_that_is_unknown_stays_unknown():
    assert report.memory(fake("s", "s"), workload(1, 8), None, 5).increase_bytes is None
    assert report.memory(fake("s", "s"), workload(1, 8), 5, None).increase_bytes is None
    assert report.memory(fake("s", "s"), workload(1, 8), 5, 7).increase_bytes == 2
