"""Options that a target's library lacks are refused, and none is ignored."""

from __future__ import annotations

import pytest

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.targets.engines import require_supported
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
        require_supported(options, {"onnxruntime": (), target: ()})
    other = TENSORRT if target == TENSORRT_RTX else TENSORRT_RTX
    require_supported(options, {"onnxruntime": (), other: ()})


def test_a_value_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"got 'sm89'; expected such as 8\.9"):
        require_supported(BuildOptions(compute_capabilities=("sm89",)), {TENSORRT_RTX: ()})
    with pytest.raises(InputError, match="got 'every'; expected none, same_compute_capability, ampere_plus"):
        require_supported(BuildOptions(hardware_compatibility="every"), {TENSORRT: ()})


def test_fp8_is_built_for_gpus_that_have_it():
    older = BuildOptions(compute_capabilities=("12.0", "8.6"))
    with pytest.raises(InputError, match=r"--compute-capability 8\.6 has no fp8; expected 8\.9 or more"):
        require_supported(older, {TENSORRT_RTX: (DType.FP16, DType.FP8)})
    require_supported(older, {TENSORRT_RTX: (DType.FP16, DType.INT8)})
    require_supported(BuildOptions(compute_capabilities=("8.9",)), {TENSORRT_RTX: (DType.FP8,)})


def test_options_without_an_engine_are_refused():
    with pytest.raises(InputError, match="need --target tensorrt or tensorrt-rtx"):
        require_supported(BuildOptions(workspace_gib=1.0), {"onnxruntime": ()})
    require_supported(BuildOptions(), {"onnxruntime": ()})
