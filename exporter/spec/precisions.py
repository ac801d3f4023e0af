"""Which precisions each target has, and why no others: what `--dtype` means for `--target`. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.spec.model import DType


@dataclass(frozen=True)
class Precisions:
    """What a target runs or builds.

    dtypes: the one to recommend first.
    why: what stands against the others, for a message.
    """

    dtypes: tuple[DType, ...]
    why: str


PRECISIONS: Mapping[str, Precisions] = {
    "onnxruntime": Precisions((DType.FP32, DType.FP16), "ONNX Runtime runs a graph in the precision that it has"),
    "tensorrt": Precisions((DType.FP16,), "TensorRT has fused attention kernels in half precision only"),
    "tensorrt-rtx": Precisions((DType.FP16,), "TensorRT-RTX builds attention in half precision only"),
    "openvino": Precisions(
        (DType.FP32, DType.BF16),
        "OpenVINO executes the fp32 graph; asked for fp16, it computes in fp32 or bf16 on CPUs without fp16, and does "
        "not say so",
    ),
}
"""Each target by its name, as `--target` takes it."""
