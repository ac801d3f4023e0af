import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil

from exporter.host.environment import environment


def test_states_the_machine_and_the_versions():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert found["cpu"]
    described = Path("/proc/cpuinfo").read_text().split()
    assert set(found["instructions"].split()) == {"avx2", "avx512f", "avx512_bf16", "amx_tile"} & set(described)
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
