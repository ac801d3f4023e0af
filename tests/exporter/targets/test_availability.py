"""What `poolfold targets` is told, in a full install and in a light one."""

from __future__ import annotations

import json
import subprocess
import sys

import onnxruntime

from exporter.targets import availability


def test_the_targets_of_this_release_and_no_others():
    assert [target.name for target in availability()] == ["onnxruntime", "tensorrt-rtx"]


def test_onnxruntime_works_here():
    found = availability()[0]
    assert (found.available, found.version, found.reason) == (True, onnxruntime.__version__, None)
    assert "CPU" in found.does


def test_tensorrt_rtx_says_what_it_does_and_what_it_does_not():
    found = availability()[1]
    assert found.does.startswith("builds engines, without a GPU; running them needs an NVIDIA GPU")
    assert "not done by this release" in found.does
    assert found.available == (found.reason is None) == (found.version is not None)


BLOCKED = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "tensorrt_rtx", "huggingface_hub", "safetensors")


def test_a_light_install_lists_them_too():
    code = f"""
import json, sys
for name in {BLOCKED}:
    sys.modules[name] = None
from exporter.targets import availability
print(json.dumps([[t.name, t.available, t.reason] for t in availability()]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (ort, ort_available, ort_reason), (rtx, rtx_available, rtx_reason) = json.loads(done.stdout)
    assert (ort, ort_available, ort_reason) == ("onnxruntime", True, None)
    assert (rtx, rtx_available) == ("tensorrt-rtx", False)
    assert "pip install 'poolfold[tensorrt-rtx]'" in rtx_reason


def test_importing_the_targets_loads_no_library():
    code = """
import sys
import exporter.targets, exporter.targets.tensorrt_rtx
print([m for m in ("onnxruntime", "tensorrt_rtx", "onnx_ir", "torch") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
