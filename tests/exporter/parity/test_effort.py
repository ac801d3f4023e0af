"""What candidates are expected to take before any is made."""

import pytest

from exporter.parity.effort import expected_effort
from exporter.spec.model import DType

FP32, FP16, BF16, INT8, FP8 = DType


@pytest.mark.parametrize(
    ("targets", "dtypes", "two", "one"),
    [
        (("onnxruntime",), (FP32,), 2 * 2, 2),
        (("onnxruntime", "openvino"), (FP32, BF16), 2 * 6, 2 * 3),
        (("onnxruntime",), (FP32, FP16), 2 * (2 + 2 * 1.5 + 2.5) + 1.5, 2 * (1 + 2 * 1.5 + 2.5) + 1.5),
        (("onnxruntime",), (FP32, INT8), 2 * 4, 2 * 2),
        (("openvino",), (INT8,), 2 * (2 + 2.5), 2 * (1 + 1.25)),
        (("tensorrt-rtx",), (INT8, FP8), 2 * 5 + 1.5, 2 * 2.5 + 1.5),
        (("onnxruntime", "tensorrt-rtx"), (FP16,), 2 * (2 * 1.5 + 2.5) + 1.5, 2 * (2 * 1.5 + 2.5) + 1.5),
    ],
)
def test_two_strategies(targets: tuple[str, ...], dtypes: tuple[DType, ...], two: float, one: float) -> None:
    """Each form of each precision on each target that runs here; an fp32 graph may have but one form."""
    effort = expected_effort(targets, dtypes)
    assert effort.of(2, one_form=False) == two
    assert effort.of(2, one_form=True) == one
