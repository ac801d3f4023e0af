import json
import os
import subprocess
import sys
from importlib import metadata

import psutil
import pytest

from exporter.host import environment as module
from exporter.host.environment import cores, environment


def test_states_the_machine_and_the_versions():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert found["cpu"]
    for name in ("torch", "onnx-ir", "onnxruntime"):
        assert found["versions"][name] == metadata.version(name)
    assert "no-such-distribution" not in found["versions"]


def test_names_libraries_without_importing_them():
    heavy = ("torch", "transformers", "onnx", "onnxruntime", "tensorrt_rtx")
    code = f"""
import sys
from exporter.host.environment import environment
assert "torch" in environment()["versions"]
assert not set({heavy!r}) & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux limits a process to some cores")
def test_cores_keeps_to_the_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); from exporter.host.environment import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"1\n"
    assert 1 <= cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "cpus"), [("max 100000", None), ("250000 100000", 2), ("50000 100000", 1), ("", None), (None, None)]
)
def test_a_container_quota_limits_the_cores(tmp_path, said, cpus):
    file = tmp_path / "cpu.max"
    if said is not None:
        file.write_text(said)
    assert module._cgroup_cpus(file) == cpus
