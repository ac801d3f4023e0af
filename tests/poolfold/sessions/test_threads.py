"""Threads follow what the process may use: affinity, cgroups, POOLFOLD_THREADS; not what the machine has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from poolfold import InputError, load
from poolfold.sessions.threads import default_threads, usable_cores
from tests.artifacts import write_artifact

HERE = os.sched_getaffinity(0)

THREADS = """
import json, os, sys
import poolfold
encoder = poolfold.load(sys.argv[1], threads=json.loads(sys.argv[2]))
encoder.encode(["w1"])
print(len(os.listdir("/proc/self/task")))
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    return root


def cores(siblings: dict[int, str]) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list": text for cpu, text in siblings.items()}


V1 = "4:cpu,cpuacct:/box\n3:cpuset:/\n0::/"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


KERNELS = [
    ({}, len(HERE)),
    (cores(dict.fromkeys(HERE, "0-63")), 1),  # logical CPUs of one core
    (cores({cpu: str(cpu) for cpu in HERE}), len(HERE)),
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, len(HERE)),
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "25000 100000"}, 1),
    ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1),
    ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "100000 100000"}, 1),
    ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/other/cpu.max": "100000 100000"}, len(HERE)),
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"}, len(HERE)),
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "what"}, len(HERE)),
    (
        {"proc/self/cgroup": V1, **{f"sys/fs/cgroup/cpu,cpuacct/box/{n}": "100000" for n in (QUOTA, PERIOD)}},
        1,
    ),
    (
        {
            "proc/self/cgroup": V1,
            f"sys/fs/cgroup/cpu,cpuacct/{QUOTA}": "-1",
            f"sys/fs/cgroup/cpu,cpuacct/{PERIOD}": "100000",
        },
        len(HERE),
    ),
]
"""Files of a kernel below a root -> the cores that they leave to this process."""


@pytest.mark.parametrize(("files", "count"), KERNELS)
def test_what_the_kernel_allows(tmp_path: Path, files: dict[str, str], count: int) -> None:
    assert usable_cores(write(tmp_path, files)) == count


def test_the_affinity_limits_it() -> None:
    code = f"""
import os
from poolfold.sessions.threads import default_threads
os.sched_setaffinity(0, {{{min(HERE)}}})
print(default_threads())
"""
    environment = {name: value for name, value in os.environ.items() if name != "POOLFOLD_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
    assert done.stdout == b"1\n"


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("7", 7), ("1024", 1024)])
def test_the_variable_says_it(value: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLFOLD_THREADS", value)
    assert default_threads() == count


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLFOLD_THREADS", "")
    assert default_threads() == usable_cores()


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "1025", "\u0663"])
def test_a_variable_that_is_no_number_of_threads_is_refused_by_name(
    value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POOLFOLD_THREADS", value)
    with pytest.raises(InputError, match=r"POOLFOLD_THREADS is .*; expected 1 to 1024\. Correct it, or unset it"):
        load(tmp_path)  # before anything is read


def fake_machine(folder: Path, cpus: int) -> str:
    """Shell commands that make a mount namespace see so many CPUs, each a core."""
    last = f"0-{cpus - 1}"
    files = {f"cpu/{name}": last for name in ("possible", "present", "online")}
    for cpu in range(cpus):
        shared = {"physical_package_id": "0", "core_id": str(cpu), "core_siblings_list": last}
        own = dict.fromkeys(("core_cpus_list", "thread_siblings_list"), str(cpu))
        files |= {f"cpu/cpu{cpu}/topology/{name}": text for name, text in (shared | own).items()}
    write(folder, files)
    block = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    ids = ("processor", "core id", "apicid", "initial apicid")
    lines = ((line.partition(":")[0], line) for line in block)
    shape = "\n".join(f"{name}: {{0}}" if name.strip() in ids else line for name, line in lines)
    (folder / "cpuinfo").write_text("\n\n".join(shape.replace("{0}", str(cpu)) for cpu in range(cpus)) + "\n\n")
    return f"mount --bind {folder}/cpu /sys/devices/system/cpu && mount --bind {folder}/cpuinfo /proc/cpuinfo"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_of_sixteen_cores_of_which_it_may_use_some_it_starts_threads_for_those_alone(tmp_path: Path) -> None:
    write_artifact(tmp_path / "artifact")
    mounts = fake_machine(tmp_path / "fake", 16)
    allowed = ",".join(map(str, HERE))

    def threads(asked: int | None) -> int:
        command = f'{mounts} && exec taskset -c {allowed} "$@"'
        program = [sys.executable, "-c", THREADS, str(tmp_path / "artifact"), json.dumps(asked)]
        environment = {k: v for k, v in os.environ.items() if k != "POOLFOLD_THREADS"} | {"PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", command, "sh", *program],
            capture_output=True, text=True, env=environment,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return int(done.stdout)

    assert threads(None) == threads(len(HERE)) < threads(16)
