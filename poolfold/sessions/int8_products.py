"""Whether ONNX Runtime's products of int8 need to be told to be exact on this CPU.

On x86 it adds pairs of products in 16 bits where the CPU lacks VNNI. There they overflow, and nothing tells. Its
setting for exact products takes other kernels, on CPUs with VNNI too, which have no need of it and are slower by it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

CONFIG = "session.x64quantprecision"
"""ONNX Runtime's setting: `1` for exact products."""
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})
_CPUINFO = Path("/proc/cpuinfo")


@cache
def exact_products(cpuinfo: Path = _CPUINFO) -> str:
    """The value of `CONFIG`: `0` where the CPU has VNNI, else `1`, also where the system does not say."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return "1"
    return "0" if _VNNI & set(flags.split()) else "1"
