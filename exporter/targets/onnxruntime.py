"""Target `onnxruntime`: runs an artifact's graphs as they are, so there is nothing to build."""

from __future__ import annotations

from exporter.targets.availability import Availability

NAME = "onnxruntime"


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
