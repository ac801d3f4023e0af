"""What `poolfold targets` is told, in a full install and in a light one."""

from __future__ import annotations

import json
import subprocess
import sys

import onnxruntime

from exporter.targets import availability
from poolfold.errors import how_to_install


def test_the_targets_of_this_release_and_no_others():
    assert [target.name for target in availability()] == ["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"]


def test_onnxruntime_works_here():
    found = availability()[0]
    assert (found.available, found.version, found.reason) == (True, onnxruntime.__version__, None)
    assert "CPU" in found.does


def test_tensorrt_rtx_says_what_it_does_and_what_it_does_not():
    found = availability()[3]
    assert found.does.startswith("builds engines, without a GPU; running them needs an NVIDIA GPU")
    assert "this machine has no usable NVIDIA GPU: cudaError" in found.does
    assert found.available == (found.reason is None) == (found.version is not None)


BLOCKED = (
    *("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "safetensors"),
    *("tensorrt_rtx", "tensorrt", "openvino"),
)


def test_a_light_install_lists_them_too():
    code = f"""
import json, sys
for name in {BLOCKED}:
    sys.modules[name] = None
from exporter.targets import availability
print(json.dumps([[t.name, t.available, t.reason] for t in availability()]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ort, *others = json.loads(done.stdout)
    assert ort == ["onnxruntime", True, None]
    assert [(name, available) for name, available, _ in others] == [
        ("openvino", False),
        ("tensorrt", False),
        ("tensorrt-rtx", False),
    ]
    assert all(how_to_install(name) in reason for name, _, reason in others)


def test_importing_the_targets_loads_no_library():
    code = """
import sys
import exporter.targets, exporter.targets.openvino, exporter.targets.onnxruntime
print([m for m in ("onnxruntime", "openvino", "tensorrt_rtx", "onnx_ir", "torch") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
