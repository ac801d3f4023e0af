"""How an engine is to be built, in a user's words. Values only; each target's file says which of them it lacks."""

from __future__ import annotations

from dataclasses import dataclass

HARDWARE = ("none", "same_compute_capability", "ampere_plus")
"""Which GPUs may run an engine: this one's kind, those of its compute capability, or all since Ampere."""

COMPUTE_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
"""What TensorRT-RTX targets by default, spelled out so that the manifest says what was asked for."""
FP8_FROM = 8.9
"""The least compute capability of a GPU that multiplies fp8."""


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine file; the defaults are the library's own.

    builder_level: 0 (fastest build) to 5 (fastest engine); None for the library's default.
    workspace_gib: GiB of GPU memory that a layer may take while it runs; None for all that the GPU has.
    version_compatible: let every later release of the same major version load the engine.
    hardware_compatibility: one of HARDWARE.
    compute_capabilities: of the GPUs to build for, such as "8.9"; empty for the library's default.
    strip_weights: leave the weights out; the loader takes them from the graph.
    """

    builder_level: int | None = None
    workspace_gib: float | None = None
    version_compatible: bool = False
    hardware_compatibility: str = "none"
    compute_capabilities: tuple[str, ...] = ()
    strip_weights: bool = False
