"""An engine on another library or another GPU: refused with what was got and what was expected."""

from __future__ import annotations

import msgspec
import pytest

from poolfold.manifest import Engine
from poolfold.sessions.engine_fit import why_it_does_not_fit
from poolfold.sessions.gpu import Gpu

L4 = Gpu(0, "NVIDIA L4", "8.9", "13.0")
H200 = Gpu(0, "NVIDIA H200", "9.0", "13.0")
T4 = Gpu(0, "Tesla T4", "7.5", "13.0")
ENGINE = Engine(
    path="engines/tensorrt/mean_fp16.engine",
    target="tensorrt",
    strategy="mean",
    dtype="fp16",
    status="built",
    graph="onnx/mean_fp16.onnx",
    form="plain",
    library="tensorrt",
    library_version="11.4.0.106",
    compute_capabilities=("8.9",),
    version_compatible=False,
    hardware_compatibility="none",
    stripped=False,
    profiles=(),
    contents=None,
    attention_layers=0,
    attention_fused=0,
    build_seconds=1.0,
    warnings=(),
)


def changed(**fields: object) -> Engine:
    return msgspec.structs.replace(ENGINE, **fields)


@pytest.mark.parametrize(
    ("engine", "version", "gpu", "reason"),
    [
        (ENGINE, "11.4.0.106", L4, None),
        (ENGINE, "11.4.1.0", L4, "got tensorrt 11.4.1.0, expected exactly 11.4.0.106"),
        (ENGINE, "11.4.0.106", H200, "got NVIDIA H200 of compute capability 9.0, expected 8.9"),
        (changed(compute_capabilities=("8.0", "12.0")), "11.4.0.106", L4, "expected 8.0 or 12.0"),
        (changed(version_compatible=True), "11.10.0.1", L4, None),
        (changed(version_compatible=True), "11.3.0.0", L4, "expected 11.4.0.106 or a later 11.x"),
        (changed(version_compatible=True), "12.0.0.0", L4, "expected 11.4.0.106 or a later 11.x"),
        (changed(hardware_compatibility="ampere_plus"), "11.4.0.106", H200, None),
        (changed(hardware_compatibility="ampere_plus"), "11.4.0.106", T4, "expected 8.0 or later"),
        (changed(hardware_compatibility="same_compute_capability"), "11.4.0.106", L4, None),
        (changed(hardware_compatibility="same_compute_capability"), "11.4.0.106", H200, "expected 8.9"),
    ],
)
def test_what_does_not_fit_is_said(engine: Engine, version: str, gpu: Gpu, reason: str | None) -> None:
    found = why_it_does_not_fit(engine, version, gpu)
    assert found is None if reason is None else reason in (found or "")
