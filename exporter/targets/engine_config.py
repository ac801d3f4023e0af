"""How the library is told to build: the shapes, the GPUs, the options. Independent of graphs and engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.spec.build_options import COMPUTE_CAPABILITIES, BuildOptions
from exporter.targets import trt_library
from exporter.targets.trt_library import Library
from graphs.ir.names import TOKEN_POSITIONS
from poolfold.errors import InputError
from poolfold.manifest import Profile


def check_profiles(profiles: Sequence[Profile]) -> None:
    """Require at least one profile, and 1 <= min <= opt <= max of every range.

    Raises:
        InputError: otherwise.
    """
    if not profiles:
        raise InputError("no optimisation profile was given; expected at least one. Use --batch and --seq-len.")
    for profile in profiles:
        for flag, r in (("--batch", profile.batch), ("--seq-len", profile.seq_len)):
            if not 1 <= r.min <= r.opt <= r.max:
                raise InputError(f"{flag} {r.min}:{r.opt}:{r.max} does not rise; expected 1 <= MIN <= OPT <= MAX.")


def configure(library: Library, builder: Any, network: Any, profiles: Sequence[Profile], options: BuildOptions) -> Any:
    """How to build; full float32 where the graph says float32.

    Raises:
        InputError: the library refuses a profile, or does not know a GPU that is asked for.
    """
    trt = library.trt
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    # Without it, the inspector names no precision.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_gib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace_gib * 2**30))
    if library.is_rtx:
        _set_gpus(library, config, options.compute_capabilities or COMPUTE_CAPABILITIES)
    else:
        _set_tensorrt(library, config, options)
    inputs = [network.get_input(index).name for index in range(network.num_inputs)]
    for profile in profiles:
        shapes = builder.create_optimization_profile()
        for name in inputs:
            shapes.set_shape(name, *profile_shapes(name, profile))
        if config.add_optimization_profile(shapes) < 0:
            raise InputError(f"{library.title} refuses the profile {profile}: {trt_library.errors(library)}.")
    return config


def profile_shapes(name: str, profile: Profile) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Least, tuned and largest shape of an input."""
    batch, seq = profile.batch, profile.seq_len
    if name == TOKEN_POSITIONS:  # a text has a token at least
        return (1, batch.min), (1, batch.opt * seq.opt), (1, batch.max * seq.max)
    return (batch.min, seq.min), (batch.opt, seq.opt), (batch.max, seq.max)


def _set_gpus(library: Library, config: Any, capabilities: Sequence[str]) -> None:
    trt = library.trt
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        member = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
        if member is None:
            known = ", ".join(
                f"{name[2:-1]}.{name[-1]}" for name in sorted(trt.ComputeCapability.__members__) if name[:2] == "SM"
            )
            raise InputError(f"--compute-capability {capability} is not one that {library.title} knows: {known}.")
        config.set_compute_capability(member, index)


def _set_tensorrt(library: Library, config: Any, options: BuildOptions) -> None:
    trt = library.trt
    # One stream: a context shares the GPU with others, and a captured graph stays simple.
    config.max_aux_streams = 0
    if options.builder_level is not None:
        config.builder_optimization_level = options.builder_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # Whoever loads it has the library; its code inside every engine would only add to it.
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if options.strip_weights:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    level = getattr(trt.HardwareCompatibilityLevel, options.hardware_compatibility.upper())
    config.hardware_compatibility_level = level
