"""Which engines fit which library and GPU: in words, without either."""

from __future__ import annotations

import msgspec
import pytest

from poolfold.manifest import Engine, Profile, Range
from poolfold.sessions.tensorrt.checks import misfit

ONE = Range(min=1, opt=1, max=1)
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
    profiles=(Profile(batch=ONE, seq_len=ONE),),
    contents=None,
    attention_layers=0,
    attention_fused=0,
    build_seconds=1.0,
    warnings=(),
)


@pytest.mark.parametrize(
    ("changes", "version", "capability"),
    [
        ({}, "11.4.0.106", "8.9"),
        ({"compute_capabilities": ("8.0", "8.6", "12.0")}, "11.4.0.106", "12.0"),
        ({"version_compatible": True}, "11.9.1.2", "8.9"),
        ({"hardware_compatibility": "same_compute_capability"}, "11.4.0.106", "8.9"),
        ({"hardware_compatibility": "ampere_plus"}, "11.4.0.106", "8.0"),
        ({"hardware_compatibility": "ampere_plus"}, "11.4.0.106", "12.0"),
        ({"hardware_compatibility": "ampere_plus", "version_compatible": True}, "11.5.0.1", "9.0"),
    ],
)
def test_an_engine_fits(changes: dict[str, object], version: str, capability: str) -> None:
    assert misfit(msgspec.structs.replace(ENGINE, **changes), version, capability) is None


@pytest.mark.parametrize(
    ("changes", "version", "capability", "why"),
    [
        ({}, "11.4.0.107", "8.9", "got TensorRT 11.4.0.107, expected 11.4.0.106, with which it was built"),
        (
            {"version_compatible": True},
            "12.0.0.1",
            "8.9",
            "got TensorRT 12.0.0.1, expected 11.x: it was built, version compatible, with 11.4.0.106",
        ),
        ({"version_compatible": True}, "1.4.0.106", "8.9", "got TensorRT 1.4.0.106, expected 11.x"),
        ({}, "11.4.0.106", "8.6", "got a GPU of compute capability 8.6, expected 8.9"),
        ({"compute_capabilities": ("8.0", "8.6")}, "11.4.0.106", "9.0", "compute capability 9.0, expected 8.0 or 8.6"),
        (
            {"hardware_compatibility": "same_compute_capability"},
            "11.4.0.106",
            "12.0",
            "got a GPU of compute capability 12.0, expected 8.9",
        ),
        ({"hardware_compatibility": "ampere_plus"}, "11.4.0.106", "7.5", "7.5, expected 8.0 or later"),
        ({"target": "tensorrt-rtx"}, "1.7.1.116", "8.9", "got TensorRT-RTX 1.7.1.116, expected 11.4.0.106"),
    ],
)
def test_an_engine_does_not_fit(changes: dict[str, object], version: str, capability: str, why: str) -> None:
    found = misfit(msgspec.structs.replace(ENGINE, **changes), version, capability)
    assert found is not None
    assert why in found
