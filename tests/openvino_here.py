"""What OpenVINO executes in on this machine: tests of bf16 need a CPU that has it."""

from __future__ import annotations

import pytest

from exporter.spec.model import DType
from poolfold.sessions.openvino import load_library

CAPABILITIES = load_library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
HAS_BF16 = "BF16" in CAPABILITIES
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16")
DTYPES = (DType.FP32, DType.BF16) if HAS_BF16 else (DType.FP32,)
EACH_DTYPE = ("fp32", pytest.param("bf16", marks=needs_bf16))
