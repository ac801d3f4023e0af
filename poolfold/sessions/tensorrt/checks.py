"""Check, before it is loaded, that an engine fits the library and the GPU of this machine.

`misfit` is pure; the other functions query the machine.
"""

from __future__ import annotations

from typing import Any

from poolfold.errors import TargetUnavailable
from poolfold.manifest import Engine
from poolfold.sessions.tensorrt.gpu import Gpu, find_gpu
from poolfold.sessions.tensorrt.library import TITLES, load_module, log, reason

_AMPERE = 8


def misfit(engine: Engine, library_version: str, compute_capability: str) -> str | None:
    """Why an engine cannot run with a library on a GPU, as "got ..., expected ..."; None where it can.

    Args:
        engine: its record in the manifest.
        library_version: the version installed here, such as "11.4.0.106".
        compute_capability: that of the GPU here, such as "8.9".
    """
    title = TITLES[engine.target]
    if engine.version_compatible:
        if _major(library_version) != _major(engine.library_version):
            return (
                f"got {title} {library_version}, expected {_major(engine.library_version)}.x: it was built, version "
                f"compatible, with {engine.library_version}"
            )
    elif library_version != engine.library_version:
        return f"got {title} {library_version}, expected {engine.library_version}, with which it was built"
    if engine.hardware_compatibility == "ampere_plus":
        if int(_major(compute_capability)) < _AMPERE:
            return f"got a GPU of compute capability {compute_capability}, expected 8.0 or later"
    elif compute_capability not in engine.compute_capabilities:
        expected = " or ".join(engine.compute_capabilities)
        return f"got a GPU of compute capability {compute_capability}, expected {expected}"
    return None


def how_to_build(target: str) -> str:
    """The advice for an engine that does not run on this machine or with this release."""
    return f"Build one for this machine: poolfold build DIR --target {target}. Or use target onnxruntime."


def _major(version: str) -> str:
    return version.partition(".")[0]


def find_place(engine: Engine, gpu: int) -> tuple[Gpu, Any]:
    """The GPU and the library that an engine is to run with.

    Args:
        engine: the manifest's record of it.
        gpu: the GPU's number.

    Returns:
        The GPU, and the library's module.

    Raises:
        TargetUnavailable: there is no GPU, driver or library, or the engine does not fit it; the message names which.
    """
    try:
        device = find_gpu(gpu)  # first, since it is the fastest check
    except TargetUnavailable as error:
        raise TargetUnavailable(f"{error} Run it where its GPU is, or use target onnxruntime.") from error
    trt = load_module(engine.target)
    wrong = misfit(engine, str(trt.__version__), device.compute_capability)
    if wrong is not None:
        raise TargetUnavailable(f"{wrong} (here: {device.name}). {how_to_build(engine.target)}")
    return device, trt


def runs_here(engine: Engine, gpu: int = 0) -> bool:
    """Whether `find_place` succeeds."""
    try:
        find_place(engine, gpu)
    except TargetUnavailable:
        return False
    return True


def check_plan(trt: Any, runtime: Any, plan: bytes | memoryview) -> str | None:
    """The library's reason why an engine cannot run here; None where it gives none.

    Only TensorRT-RTX can check an engine without loading it.
    """
    if not hasattr(runtime, "get_engine_validity"):
        return None
    validity, bits = runtime.get_engine_validity(plan)
    if validity != trt.EngineValidity.INVALID:
        return None
    members = trt.EngineInvalidityDiagnostics.__members__.items()
    named = [name for name, member in members if int(bits) & int(member)]
    return f"{', '.join(named) or 'it names no cause'}: {reason(trt)}"


def make_runtime(trt: Any) -> Any:
    """The library's runtime.

    Raises:
        TargetUnavailable: the library cannot create one here.
    """
    runtime = trt.Runtime(log(trt))
    if runtime is None:
        raise TargetUnavailable(f"the library's runtime cannot be made: {reason(trt)}")
    return runtime
