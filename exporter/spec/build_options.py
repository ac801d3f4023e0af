"""How an engine is to be built, in a user's words, and which of the two libraries has which option. Values only."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolfold.errors import InputError
from poolfold.sessions.tensorrt.library import MODULES

HARDWARE = ("none", "same_compute_capability", "ampere_plus")
"""Which GPUs may run an engine: this one's kind, those of its compute capability, or all since Ampere."""


@dataclass(frozen=True)
class BuildOptions:
    """What `build` can be told besides shapes; the defaults are the library's own.

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


_CAPABILITY = re.compile(r"[1-9][0-9]?\.[0-9]")

# Measured with TensorRT-RTX 1.7.1 on a machine without a GPU: without effect, ignored with a warning, or failing.
_RTX_LACKS = {
    "builder_level": ("--builder-level", "its ahead-of-time build has one level"),
    "version_compatible": ("--version-compatible", "its engines run with the release that built them"),
    "hardware_compatibility": ("--hardware-compatibility", "its engines name their GPUs: use --compute-capability"),
    "strip_weights": ("--strip-weights", "it strips weights only where a GPU is at hand, which cannot be promised"),
}
_TENSORRT_LACKS = {
    "compute_capabilities": ("--compute-capability", "it builds for this machine's GPU: use --hardware-compatibility"),
}


def require_supported(options: BuildOptions, target: str) -> None:
    """Refuse what the target's library lacks, rather than ignore it.

    Raises:
        InputError: names the option, the reason and what to do.
    """
    lacks = _RTX_LACKS if target == "tensorrt-rtx" else _TENSORRT_LACKS
    for name, (flag, why) in lacks.items():
        if getattr(options, name) != getattr(BuildOptions(), name):
            raise InputError(f"{flag} is not an option of target {target}: {why}. Leave it out.")
    for capability in options.compute_capabilities:
        if not _CAPABILITY.fullmatch(capability):
            raise InputError(f"--compute-capability got {capability!r}; expected such as 8.9.")


def read_build_options(given: Mapping[str, Any], targets: Sequence[str]) -> tuple[BuildOptions, dict[str, Any]]:
    """Take the build's options out of a command's.

    Returns:
        Them, and what is left.

    Raises:
        InputError: an option that an engine of one of the targets cannot have, or any where no engine is built.
    """
    names = {option.name for option in dataclasses.fields(BuildOptions)}
    options = BuildOptions(**{name: value for name, value in given.items() if name in names})
    engines = [target for target in targets if target in MODULES]
    if not engines and options != BuildOptions():
        raise InputError(f"options of a build need --target {' or '.join(MODULES)}. Add one, or leave them out.")
    for target in engines:
        require_supported(options, target)
    return options, {name: value for name, value in given.items() if name not in names}
