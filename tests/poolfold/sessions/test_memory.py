"""What a process may take: the machine's, or what its cgroups and limits leave; and runs where that is not enough."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from exporter.host import memory as of_any_system
from poolfold import Encoder, InputError, OutOfMemory, load
from poolfold.manifest import RunMemory
from poolfold.sessions.memory import available_bytes, in_halves, tell_out_of_memory
from poolfold.sessions.ort import OnnxRuntimeSession
from tests.artifacts import write_artifact
from tests.poolfold.sessions.little_memory import write_pairs

GIB = 2**30
ROOT = Path(__file__).parents[3]
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max data size             {data}           unlimited            bytes
Max address space         {space}            unlimited            bytes
"""


def write(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


V1, V2 = "sys__fs__cgroup__memory__job__memory_dot_", "sys__fs__cgroup__job__memory_dot_"


KERNELS: list[tuple[dict[str, str], int]] = [
    (
        {"proc__self__cgroup": "0::/job\n", f"{V2}max": f"{GIB}\n", f"{V2}current": f"{GIB // 2}\n"},
        GIB // 2,
    ),
    (
        {
            "proc__self__cgroup": "4:memory:/job\n",
            f"{V1}limit_in_bytes": f"{GIB}\n",
            f"{V1}usage_in_bytes": f"{GIB // 2}\n",
            f"{V1}stat": f"cache 1\ntotal_inactive_file {GIB // 4}\n",
        },
        3 * GIB // 4,
    ),
    (
        {
            "proc__self__cgroup": "0::/job/inner\n",
            f"{V2}max": "1000\n",
            f"{V2}current": "2000\n",
            "sys__fs__cgroup__job__inner__memory_dot_max": "max\n",
        },
        0,
    ),
    (
        {
            "proc__self__limits": LIMITS.format(data=GIB, space="unlimited"),
            "proc__self__status": "VmSize:\t  9000000 kB\nVmData:\t    1024 kB\nThreads:\t1\n",
        },
        GIB - 2**20,
    ),
    (
        {
            "proc__self__limits": LIMITS.format(data="unlimited", space=GIB),
            "proc__self__status": "VmSize:\t    2048 kB\n",
        },
        GIB - 2**21,
    ),
    ({"proc__meminfo": "MemTotal: 4096 kB\nMemAvailable:    2048 kB\nHugePages_Total:  0\n"}, 2**21),
]
"""Files of a kernel below a root -> bytes that they leave to this process."""


@pytest.mark.parametrize(("files", "left"), KERNELS)
def test_a_limit_leaves_what_is_not_used_and_what_can_be_freed(
    tmp_path: Path, files: dict[str, str], left: int
) -> None:
    root = write(tmp_path, **files)
    assert available_bytes(root) == left
    if "proc__meminfo" not in files:
        assert of_any_system.available_bytes(root) == left


@pytest.mark.parametrize("files", [{}, {"proc__self__cgroup": "0::/job\n", f"{V2}max": "max\n"}])
def test_without_a_limit_it_is_the_machines(tmp_path: Path, files: dict[str, str]) -> None:
    root = write(tmp_path, **files)
    assert available_bytes(root) == 4 * GIB  # this one tells no size of the machine
    assert 0 < of_any_system.available_bytes(root) <= psutil.virtual_memory().total


def test_here_it_is_no_more_than_psutil_says() -> None:
    assert 0 < available_bytes() <= 1.2 * psutil.virtual_memory().available


@pytest.mark.parametrize("memory", [0, -1, 2.0**30, "1GiB", True, np.float32(8)])
def test_budgets_that_are_none(tmp_path: Path, encoder: Encoder, memory: Any) -> None:
    with pytest.raises(InputError, match=r"memory is .*; expected bytes, a whole number"):
        encoder.encode([], memory=memory)
    with pytest.raises(InputError, match=r"memory is .*; expected bytes, a whole number"):
        load(tmp_path, memory=memory)


def test_rows_are_run_in_halves_until_each_fits() -> None:
    ran = []

    def run(start: int, stop: int) -> np.ndarray:
        ran.append((start, stop))
        if stop - start > 1 and 5 in range(start, stop):
            raise OutOfMemory("5 needs company of none")
        return np.arange(start, stop, dtype=np.float32)[:, None]

    np.testing.assert_array_equal(in_halves(run, 2, 9)[:, 0], np.arange(2, 9))
    assert ran == [(2, 9), (2, 5), (5, 9), (5, 7), (5, 6), (6, 7), (7, 9)]


def test_one_row_that_does_not_fit_is_not_run_again() -> None:
    ran = []

    def run(start: int, stop: int) -> np.ndarray:
        ran.append((start, stop))
        raise OutOfMemory("never")

    with pytest.raises(OutOfMemory, match="never"):
        in_halves(run, 0, 2)
    assert ran == [(0, 2), (0, 1)]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (RuntimeError("BFCArena::Extend Failed to allocate memory for requested buffer of size 12884901888"), 12 * GIB),
        (RuntimeError("onnxruntime::RuntimeException: std::bad_alloc"), None),
        (RuntimeError("bad allocation"), None),
        (MemoryError(), None),
    ],
)
def test_memory_that_is_out_is_told_from_other_errors(error: Exception, asked: int | None) -> None:
    with pytest.raises(OutOfMemory, match="a run takes more memory") as told:
        tell_out_of_memory(error, "a run")
    assert told.value.asked == asked and told.value.exit_code == 3


def test_another_error_is_not_about_memory() -> None:
    tell_out_of_memory(RuntimeError("memory layout of input 3 is not dense: allocated shape {1,2}"), "a run")


@pytest.mark.slow
@pytest.mark.parametrize(("target", "threads"), [("onnxruntime", 1), ("openvino", 1), ("openvino", 2)])
def test_a_batch_that_does_not_fit_runs_in_parts_and_a_row_that_does_not_is_named(
    tmp_path: Path, target: str, threads: int
) -> None:
    """For real: the process may take 300 MiB more; 8 rows of 4096 tokens take 512, one of 12,000 takes 549."""
    write_artifact(tmp_path / "DIR")
    command = [
        sys.executable,
        "-m",
        "tests.poolfold.sessions.little_memory",
        str(tmp_path / "DIR"),
        target,
        str(threads),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["ran"][0] == 8 and max(told["rows"]) < 8 and sum(told["rows"]) == 8
    assert told["vectors"] == told["alone"] == told["expected"] == told["embedded"]
    assert told["budgeted"] == [1] * 8
    assert "text 1 ('w1 w1" in told["error"] and "of 12000 tokens takes more memory" in told["error"]
    assert "--max-seq-length" in told["error"] and "pgrade" not in told["error"]
    # OpenVINO does not say on one thread.
    if (target, threads) != ("openvino", 1):
        assert f"({target} asked for 549 MiB at once)" in told["error"]
    assert told["after"] == told["expected"][0]
    if target == "onnxruntime":
        assert told["grown"] == [7 * (2 + 7 * (count - 2) + 3) for count in (5000, 8000)]
    assert done.stderr == ""


@pytest.mark.parametrize(("pair_bytes", "kept"), [(4, False), (0, True)])
def test_onnxruntime_gives_back_what_a_large_run_took(tmp_path: Path, pair_bytes: int, kept: bool) -> None:
    """Of 309 MiB; a run that is taken for a small one keeps them for the next."""
    write_pairs(tmp_path / "pairs.onnx")
    session = OnnxRuntimeSession(
        tmp_path / "pairs.onnx",
        threads=1,
        run_memory=RunMemory(token_bytes=0, score_bytes=pair_bytes, mask_bytes=0),
    )
    ids = np.full((1, 9000), 3)
    session.run(ids[:, :8], ids[:, :8])
    before = psutil.Process().memory_info().rss
    assert session.run(ids, np.ones_like(ids))[0, 0] == 3 * 3 * 9000
    assert (psutil.Process().memory_info().rss - before > 2**28) is kept
