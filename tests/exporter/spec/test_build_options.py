"""Options that a library lacks are refused, and none is ignored."""

from __future__ import annotations

import pytest

from exporter.spec.build_options import BuildOptions, read_build_options, require_supported
from exporter.targets.trt_library import TENSORRT, TENSORRT_RTX
from poolfold.errors import InputError


@pytest.mark.parametrize(
    ("target", "options", "flag"),
    [
        (TENSORRT_RTX, BuildOptions(builder_level=0), "--builder-level"),
        (TENSORRT_RTX, BuildOptions(version_compatible=True), "--version-compatible"),
        (TENSORRT_RTX, BuildOptions(hardware_compatibility="ampere_plus"), "--hardware-compatibility"),
        (TENSORRT_RTX, BuildOptions(strip_weights=True), "--strip-weights"),
        (TENSORRT, BuildOptions(compute_capabilities=("8.9",)), "--compute-capability"),
    ],
)
def test_an_option_that_the_library_lacks_is_refused_with_the_reason(target, options, flag):
    with pytest.raises(InputError, match=rf"{flag} is not an option of target {target}: .*Leave it out"):
        require_supported(options, target)
    other = TENSORRT if target == TENSORRT_RTX else TENSORRT_RTX
    require_supported(options, other)


def test_a_compute_capability_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"got 'sm89'; expected such as 8\.9"):
        require_supported(BuildOptions(compute_capabilities=("sm89",)), TENSORRT_RTX)


def test_options_are_taken_out_and_the_rest_is_left():
    given = {"builder_level": None, "compute_capabilities": ("8.9",), "force": True}
    assert read_build_options(given, ["onnxruntime", TENSORRT_RTX]) == (
        BuildOptions(compute_capabilities=("8.9",)),
        {"force": True},
    )


def test_options_without_an_engine_are_refused():
    with pytest.raises(InputError, match="need --target tensorrt or tensorrt-rtx"):
        read_build_options({"workspace_gib": 1.0}, ["onnxruntime"])
