"""Whether `tensorrt` and `tensorrt-rtx` work on this machine: to build with, and to run on."""

from __future__ import annotations

from exporter.targets import trt_library
from exporter.targets.availability import Availability
from exporter.targets.trt_library import TENSORRT, TENSORRT_RTX
from poolfold.errors import TargetUnavailable
from poolfold.sessions.tensorrt.gpu import find_gpu

_DOES = {
    TENSORRT: "builds engines for this machine's NVIDIA GPU and runs them there",
    TENSORRT_RTX: "builds engines, without a GPU; running them needs an NVIDIA GPU of compute capability "
    "8.0, 8.6, 8.9 or 12.0",
}


def availability(target: str) -> Availability:
    """Whether the library loads here, and what it can do: TensorRT needs a GPU even to build."""
    does = _DOES[target]
    try:
        library = trt_library.load(target)
    except TargetUnavailable as error:
        return Availability(target, available=False, version=None, reason=str(error), does=does)
    try:
        gpu = find_gpu(0)
    except TargetUnavailable as error:
        if library.is_rtx:
            return Availability(target, available=True, version=library.version, reason=None, does=f"{does}; {error}")
        return Availability(target, available=False, version=library.version, reason=str(error), does=does)
    here = f"; here {gpu.name}, compute capability {gpu.compute_capability}"
    return Availability(target, available=True, version=library.version, reason=None, does=does + here)
