"""Target `tensorrt-rtx`: engine files, built by TensorRT-RTX ahead of time, on a machine with or without a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.targets import engine_files
from exporter.targets.interface import Availability, EngineRequest, every_precision
from poolfold.manifest import Engine

__all__ = ["availability", "make_engine", "require_precision", "require_supported"]

NAME = "tensorrt-rtx"
_DOES = "builds engines, without a GPU; running them needs an NVIDIA GPU of compute capability 8.0, 8.6, 8.9 or 12.0"
# Measured with TensorRT-RTX 1.7.1 on a machine without a GPU: without effect, ignored with a warning, or failing.
_LACKS = {
    "builder_level": ("--builder-level", "its ahead-of-time build has one level"),
    "version_compatible": ("--version-compatible", "its engines run with the release that built them"),
    "hardware_compatibility": ("--hardware-compatibility", "its engines name their GPUs: use --compute-capability"),
    "strip_weights": ("--strip-weights", "it strips weights only where a GPU is at hand, which cannot be promised"),
}
require_precision = every_precision


def availability() -> Availability:
    """Whether the library loads here."""
    return engine_files.availability(NAME, _DOES)


def require_supported(options: BuildOptions, dtypes: Sequence[DType]) -> None:
    """Refuse what the library lacks, rather than ignore it."""
    engine_files.require_supported(options, dtypes, NAME, _LACKS)


def make_engine(request: EngineRequest) -> Engine:
    """Build an engine file."""
    return engine_files.make_engine(NAME, request)
