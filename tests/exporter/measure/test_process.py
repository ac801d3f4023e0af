import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from exporter.measure import memory
from exporter.measure.process import Worker, weigh
from exporter.measure.protocol import Run
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
from poolfold.errors import CheckFailed

MIB = 1 << 20
FAKES = "tests.exporter.measure.fake_systems"
needs_linux = pytest.mark.skipif(not memory.reset_peak(), reason="only Linux tells and resets a process's peak memory")


def fake(function, name="fake", **arguments):
    return System(name, "mean", "fp32", "fake", f"{FAKES}:{function}", arguments, baseline=name)


def request(batch=2, seq_len=3, untimed=0, timed=1):
    ones = np.ones((batch, seq_len), np.int64)
    return Run([Batch(ones, ones)], untimed, timed)


def children():
    found = psutil.Process().children(recursive=True)
    return [child for child in found if "exporter.host.child_process" in " ".join(child.cmdline())]


def test_a_window_makes_the_untimed_and_the_timed_calls_in_another_process(tmp_path):
    log = tmp_path / "calls"
    with Worker(fake("sleeps", seconds=0.01, log=str(log)), threads=3) as worker:
        worker.loaded()
        seconds = worker.run(request(batch=5, seq_len=7, untimed=2, timed=4), limit_s=60).seconds
    calls = log.read_text().splitlines()
    assert len(calls) == 6
    pid, shape, threads = calls[0].split()
    assert (shape, threads) == ("5x7", "3")
    assert int(pid) != os.getpid()
    assert len(seconds) == 4
    assert min(seconds) >= 0.01


def test_a_call_runs_every_batch_of_the_workload(tmp_path):
    log = tmp_path / "calls"
    ones = [np.ones(shape, np.int64) for shape in ((5, 7), (2, 3))]
    with Worker(fake("sleeps", seconds=0.01, log=str(log)), threads=1) as worker:
        worker.loaded()
        ran = worker.run(Run([Batch(ids, ids) for ids in ones], untimed=0, timed=2), limit_s=60)
    assert [line.split()[1] for line in log.read_text().splitlines()] == ["5x7", "2x3", "5x7", "2x3"]
    assert min(ran.seconds) >= 0.02
    assert ran.pooled_seconds == {}


def test_one_forward_serves_the_poolings_and_each_strategy_has_its_own_time():
    with Worker(fake("pools", forward_s=0.05, pools_s={"cls": 0.0, "mean": 0.1}), threads=1) as worker:
        worker.loaded()
        ran = worker.run(request(timed=3), limit_s=60)
    assert len(ran.seconds) == 3
    for whole, cls, mean in zip(ran.seconds, ran.pooled_seconds["cls"], ran.pooled_seconds["mean"], strict=True):
        assert cls >= 0.05
        assert whole - cls >= 0.1, "the other strategy's pooling is no part of it"
        assert 0.15 <= mean <= whole < cls + mean


def test_no_process_is_left_behind(tmp_path):
    with Worker(fake("sleeps", seconds=0), threads=1) as worker:
        worker.loaded()
        assert len(children()) == 1, "the premise needs a process"
    assert children() == []


@needs_linux
def test_memory_held_from_the_load_on_counts():
    with Worker(fake("holds", mib=200), threads=1) as worker:
        before = worker.loaded()
        peak = worker.run(request(), limit_s=60).peak_bytes
    assert 198 * MIB < peak - before < 215 * MIB


@needs_linux
def test_memory_needed_during_a_call_counts_for_that_call_alone():
    with Worker(fake("needs", mib=200, only_batch=32), threads=1) as worker:
        before = worker.loaded()
        small = worker.run(request(batch=1), limit_s=60).peak_bytes
        big = worker.run(request(batch=32), limit_s=60).peak_bytes
        small_again = worker.run(request(batch=1), limit_s=60).peak_bytes
    assert 198 * MIB < big - before < 215 * MIB
    assert small - before < 15 * MIB
    assert small_again - before < 15 * MIB


def test_memory_is_unknown_where_the_system_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path)
    assert memory.resident_bytes() is None
    assert memory.peak_bytes() is None
    assert memory.reset_peak() is False


def test_a_system_that_cannot_load_is_reported_with_its_reason():
    with (
        Worker(fake("dies", name="mars fp32", at_call=0), threads=1) as worker,
        pytest.raises(CheckFailed, match=r"measuring mars fp32: no such model on Mars"),
    ):
        worker.loaded()


def test_a_worker_that_is_killed_is_reported_with_the_signal():
    with Worker(fake("dies", at_call=2), threads=1) as worker:
        worker.loaded()
        worker.run(request(), limit_s=60)
        with pytest.raises(CheckFailed, match="died with exit code -9"):
            worker.run(request(), limit_s=60)
        with pytest.raises(CheckFailed, match="died with exit code -9"):
            worker.run(request(), limit_s=60)
    assert children() == []


@needs_linux
def test_what_a_system_adds_is_weighed_in_a_fresh_process_for_each_batch_in_turn():
    ones = {rows: np.ones((rows, 3), np.int64) for rows in (1, 32)}
    loads = [Workload(f"{rows}x3", (Batch(ids, ids),)) for rows, ids in ones.items()]
    small, big = weigh(fake("needs", mib=200, only_batch=32), loads, threads=1)
    assert small < 15 * MIB
    assert 198 * MIB < big < 215 * MIB
    assert children() == []


def test_a_worker_that_hangs_is_ended_and_reported():
    with Worker(fake("sleeps", seconds=600), threads=1) as worker:
        worker.loaded()
        with pytest.raises(CheckFailed, match="no answer within 1 s"):
            worker.run(request(), limit_s=1)
    assert children() == []


def test_a_system_without_a_vector_for_each_row_is_reported():
    with Worker(fake("one_vector"), threads=1) as worker:
        worker.loaded()
        with pytest.raises(CheckFailed, match=r"shape \(1, 4\) for 2 rows"):
            worker.run(request(batch=2), limit_s=60)


PARENT = """
import sys
import numpy as np
from exporter.measure.interleave import measure
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
ones = np.ones((1, 4), np.int64)
arguments = {"seconds": 0.2, "log": sys.argv[1]}
sleeps = "tests.exporter.measure.fake_systems:sleeps"
systems = [System(n, "mean", "fp32", "fake", sleeps, arguments, "a") for n in "ab"]
measure(systems, [Workload("1x4", (Batch(ones, ones),))], threads=1, budget_s=600, progress=lambda *_: None)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_workers_end_with_their_parent_however_it_ends(tmp_path, ending):
    log = tmp_path / "calls"
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)], cwd=root, stderr=subprocess.DEVNULL)
    workers = wait_for(lambda: {int(line.split()[0]) for line in lines(log)}, until=lambda pids: len(pids) == 2)
    assert all(psutil.pid_exists(pid) for pid in workers), "the premise needs living workers"
    parent.send_signal(ending)
    code = parent.wait(60)
    assert code == -ending, "the premise is that the signal ended the parent"
    wait_for(lambda: [pid for pid in workers if psutil.pid_exists(pid)], until=lambda alive: not alive)


def lines(file):
    return file.read_text().splitlines() if file.exists() else []


def wait_for(value, until):
    deadline = time.monotonic() + 60
    while not until(found := value()):
        assert time.monotonic() < deadline, f"still {found} after a minute"
        time.sleep(0.02)
    return found
