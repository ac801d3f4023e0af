"""Whether an engine can run on a GPU with a library, by what the manifest says of it. Pure: values in, a reason out."""

from __future__ import annotations

from poolfold.manifest import Engine
from poolfold.sessions.gpu import Gpu

_AMPERE = 8


def why_it_does_not_fit(engine: Engine, library_version: str, gpu: Gpu) -> str | None:
    """What stands against running an engine here, as got and expected; None where nothing does.

    Args:
        engine: the manifest's entry.
        library_version: of the library that is installed here.
        gpu: of this machine.
    """
    if engine.version_compatible:
        got, expected = library_version.partition(".")[0], engine.library_version.partition(".")[0]
        if got != expected or _numbers(library_version) < _numbers(engine.library_version):
            return f"got {engine.library} {library_version}, expected {engine.library_version} or a later {expected}.x"
    elif library_version != engine.library_version:
        return f"got {engine.library} {library_version}, expected exactly {engine.library_version}"
    if not _gpu_fits(engine, gpu.compute_capability):
        return f"got {gpu.name} of compute capability {gpu.compute_capability}, expected {_wanted(engine)}"
    return None


def _gpu_fits(engine: Engine, capability: str) -> bool:
    if engine.hardware_compatibility == "ampere_plus":
        return _numbers(capability)[0] >= _AMPERE
    return capability in engine.compute_capabilities


def _wanted(engine: Engine) -> str:
    if engine.hardware_compatibility == "ampere_plus":
        return "8.0 or later"
    return " or ".join(engine.compute_capabilities)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
