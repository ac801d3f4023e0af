"""Target `tensorrt`: engine files, built by TensorRT for this machine's GPU. No build was run: it needs a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.targets import engine_files
from exporter.targets.interface import Availability, EngineRequest, every_precision
from poolfold.manifest import Engine

__all__ = ["availability", "make_engine", "require_precision", "require_supported"]

NAME = "tensorrt"
_DOES = "builds engines for this machine's NVIDIA GPU and runs them there"
_LACKS = {
    "compute_capabilities": ("--compute-capability", "it builds for this machine's GPU: use --hardware-compatibility"),
}
require_precision = every_precision


def availability() -> Availability:
    """Whether the library loads here; it needs a GPU even to build."""
    return engine_files.availability(NAME, _DOES)


def require_supported(options: BuildOptions, dtypes: Sequence[DType]) -> None:
    """Refuse what the library lacks, rather than ignore it."""
    engine_files.require_supported(options, dtypes, NAME, _LACKS)


def make_engine(request: EngineRequest) -> Engine:
    """Build an engine file."""
    return engine_files.make_engine(NAME, request)
