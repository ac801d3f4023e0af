"""What the targets that build engine files share: `tensorrt` and `tensorrt-rtx` have one API in two libraries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter.artifact.layout import engine_path
from exporter.spec.build_options import COMPUTE_CAPABILITIES, FP8_FROM, HARDWARE, BuildOptions
from exporter.spec.model import DType
from exporter.targets import trt_library
from exporter.targets.interface import Availability, EngineRequest
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import InputError, TargetUnavailable
from poolfold.manifest import Engine
from poolfold.sessions.tensorrt.gpu import find_gpu

_CAPABILITY = re.compile(r"[1-9][0-9]?\.[0-9]")


def availability(target: str, does: str) -> Availability:
    """Whether the library loads here, and what it can do: TensorRT needs a GPU even to build.

    Args:
        target: `tensorrt` or `tensorrt-rtx`.
        does: what the target can do, in one phrase.
    """
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


def require_supported(
    options: BuildOptions, dtypes: Sequence[DType], target: str, lacks: Mapping[str, tuple[str, str]]
) -> None:
    """Refuse what the target's library lacks, rather than ignore it, and fp8 for GPUs without it.

    Args:
        options: how to build.
        dtypes: what is to be built.
        target: `tensorrt` or `tensorrt-rtx`.
        lacks: option -> its flag, and why the library lacks it.

    Raises:
        InputError: names the option, the reason and what to do.
    """
    for name, (flag, why) in lacks.items():
        if getattr(options, name) != getattr(BuildOptions(), name):
            raise InputError(f"{flag} is not an option of target {target}: {why}. Leave it out.")
    if options.hardware_compatibility not in HARDWARE:
        raise InputError(
            f"--hardware-compatibility got {options.hardware_compatibility!r}; expected {', '.join(HARDWARE)}."
        )
    for capability in options.compute_capabilities:
        if not _CAPABILITY.fullmatch(capability):
            raise InputError(f"--compute-capability got {capability!r}; expected such as 8.9.")
        if DType.FP8 in dtypes and float(capability) < FP8_FROM:
            raise InputError(
                f"--compute-capability {capability} has no fp8; expected {FP8_FROM} or more. Leave it out, or take "
                "--dtype int8."
            )


def make_engine(target: str, request: EngineRequest) -> Engine:
    """Build the engine file of one form of a graph.

    Raises:
        PoolfoldError: as `build_engine`.
    """
    # Not before: a light install, which lists the targets, lacks what it imports.
    from exporter.targets.engine_builder import build_engine

    request.progress("waiting", 0.0)
    graph, options = request.graph, request.options
    if request.dtype is DType.FP8 and not options.compute_capabilities:
        able = tuple(capability for capability in COMPUTE_CAPABILITIES if float(capability) >= FP8_FROM)
        options = replace(options, compute_capabilities=able)
    path = engine_path(target, parse_strategy(graph.strategy), DType(graph.dtype), request.form)
    build = build_engine(
        target,
        request.directory / request.source,
        request.directory / path,
        request.profiles,
        options=options,
        progress=request.progress,
    )
    return Engine(
        path=path,
        target=target,
        strategy=graph.strategy,
        dtype=graph.dtype,
        status="built",
        graph=request.source,
        form=request.form,
        library=build.library,
        library_version=build.library_version,
        compute_capabilities=build.compute_capabilities,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        stripped=options.strip_weights,
        profiles=request.profiles,
        contents=build.contents,
        attention_layers=build.attention_layers,
        attention_fused=build.attention_fused,
        build_seconds=round(build.build_seconds, 3),
        warnings=build.warnings,
    )
