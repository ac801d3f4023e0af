"""The same folder by Ray: a worker is killed and the job is killed, and every id is there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import ray.data

from poolfold.bulk import Embed
from tests.artifacts import expected, write_artifact
from tests.exporter.bulk.test_bulk import check, texts

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
ENVIRONMENT = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def command(tmp_path: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "poolfold", "embed", str(tmp_path / "table"), "-i", str(tmp_path / "texts/*.parquet")),
        *("-o", str(tmp_path / "vectors"), "--column", "body", "--id-column", "id", "--engine", "ray", *more),
    ]


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The actors of a job."""
    return [
        child for child in psutil.Process(process.pid).children(recursive=True) if "Actor" in " ".join(child.cmdline())
    ]


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a job and the cluster that it started."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in children:
        if child.is_running():
            child.kill()


def test_a_worker_and_a_job_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    (tmp_path / "texts").mkdir()
    of_id = dict(enumerate(texts(120_000)))
    pq.write_table(pa.table({"id": list(of_id), "body": list(of_id.values())}), tmp_path / "texts" / "a.parquet")
    parts = tmp_path / "vectors"

    def wait_for_parts(process: subprocess.Popen[bytes], count: int) -> None:
        until = time.monotonic() + 120
        while len(list(parts.glob("part-*.parquet"))) < count and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)

    ray_command = command(tmp_path, "--workers", "2", "--threads", "1")
    first = subprocess.Popen(ray_command, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE)
    wait_for_parts(first, 1)
    killed = workers_of(first)
    assert killed
    killed[0].send_signal(signal.SIGKILL)
    wait_for_parts(first, 5)
    end(first)
    made = len(list(parts.glob("part-*.parquet")))
    assert 1 <= made < 15
    second = subprocess.run(ray_command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert second.returncode == 0, second.stderr
    assert "120000 rows in 15 parts" in second.stdout
    check(parts, of_id)


def test_a_cluster_that_is_too_small_is_told(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    (tmp_path / "texts").mkdir()
    pq.write_table(pa.table({"id": [1], "body": ["w1"]}), tmp_path / "texts" / "a.parquet")
    few = command(tmp_path, "--workers", "100", "--threads", "4")
    done = subprocess.run(few, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "take 400. They would wait for ever" in done.stderr


def test_the_class_of_the_page_on_ray_data(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        wanted = texts(100)
        data = ray.data.from_items([{"id": n, "text": text} for n, text in enumerate(wanted)], override_num_blocks=4)
        made = data.map_batches(
            Embed, fn_constructor_args=(str(tmp_path / "table"),), batch_size=16, concurrency=1, num_cpus=1
        ).take_all()
        found = {row["id"]: row["embedding"] for row in made}
        np.testing.assert_array_equal([found[n] for n in range(100)], expected(wanted))
    finally:
        ray.shutdown()
