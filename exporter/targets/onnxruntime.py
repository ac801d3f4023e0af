"""Target `onnxruntime`: runs an artifact's graphs as they are, so there is nothing to build."""

from __future__ import annotations

from exporter.targets.interface import Availability, EngineRequest, every_precision, no_options
from poolfold.manifest import Engine

__all__ = ["availability", "make_engine", "require_precision", "require_supported"]

NAME = "onnxruntime"
require_precision, require_supported = every_precision, no_options


def availability() -> Availability:
    """Whether ONNX Runtime loads here, and which of its execution providers were compiled in."""
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        reason = f"onnxruntime does not load ({error}). Install it: pip install onnxruntime"
        return Availability(NAME, available=False, version=None, reason=reason, does="runs graphs")
    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    does = f"runs graphs on the CPU (providers in this build: {providers})"
    return Availability(NAME, available=True, version=onnxruntime.__version__, reason=None, does=does)


def make_engine(request: EngineRequest) -> Engine:
    """Never called: a graph is run as it is."""
    raise ValueError(f"{NAME} runs {request.source} as it is; there is no engine to make")
