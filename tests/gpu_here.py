"""Whether this machine has an NVIDIA GPU: what a machine without one must say is tested where there is none."""

from __future__ import annotations

import pytest

from poolfold.errors import TargetUnavailable
from poolfold.sessions.tensorrt.gpu import find_gpu


def _has_gpu() -> bool:
    try:
        find_gpu(0)
    except TargetUnavailable:
        return False
    return True


without_gpu = pytest.mark.skipif(_has_gpu(), reason="what is refused on a machine without an NVIDIA GPU")
