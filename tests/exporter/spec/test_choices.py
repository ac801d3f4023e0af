"""What was asked for against what the checkpoint is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.spec.choices import choose_head, choose_strategies, target_dtypes
from exporter.spec.model import DType, ModelSpec
from graphs.pooling.head import Cut, Normalize, Truncate
from graphs.pooling.strategy import PoolingMode, parse_strategy
from poolfold.errors import CheckpointError, InputError
from tests.exporter.model.reading import spec_of

MEAN, CLS = parse_strategy("mean"), parse_strategy("cls")


@pytest.fixture(scope="module")
def spec(checkpoint: Path) -> ModelSpec:
    return spec_of(checkpoint)


@pytest.fixture(scope="module")
def dense(dense_checkpoint: Path) -> ModelSpec:
    return spec_of(dense_checkpoint)


def test_trained_is_what_the_checkpoint_says(spec: ModelSpec) -> None:
    assert choose_strategies(spec, ["trained"]) == (MEAN,)


def test_strategies_keep_their_order_and_come_once(spec: ModelSpec) -> None:
    assert choose_strategies(spec, ["cls", "mean", "trained", "cls"]) == (CLS, MEAN)
    assert choose_strategies(spec, ["cls+mean", "mean+cls"]) == ((*CLS, *MEAN), (*MEAN, *CLS))


def test_trained_is_never_guessed(spec: ModelSpec) -> None:
    untold = replace(spec, trained=None)
    with pytest.raises(CheckpointError, match=r"does not say which pooling.*Name one with --pooling: .*mean"):
        choose_strategies(untold, ["cls", "trained"])
    assert choose_strategies(untold, ["mean"]) == (MEAN,)


def test_a_dense_layer_takes_as_many_values_as_it_was_trained_on(dense: ModelSpec) -> None:
    assert choose_strategies(dense, list(PoolingMode)) == tuple((mode,) for mode in PoolingMode)
    with pytest.raises(InputError, match=r"--pooling cls\+max gives 64 values.*takes 32\..*such as mean"):
        choose_strategies(dense, ["cls", "cls+max"])


def test_dimensions_cut_behind_everything_else(spec: ModelSpec, dense: ModelSpec) -> None:
    assert choose_head(spec, [MEAN], Cut()) == spec.head
    assert choose_head(dense, [MEAN], Cut(24)) == (*dense.head, Truncate(24), Normalize())
    assert choose_head(dense, [MEAN], Cut(24, renormalize=False)) == (*dense.head, Truncate(24))
    with pytest.raises(InputError, match=r"--dimensions 25 is more than the 24"):
        choose_head(dense, [MEAN], Cut(25))


def test_the_shortest_vectors_limit_the_dimensions(spec: ModelSpec) -> None:
    both = (*CLS, *MEAN)
    assert choose_head(spec, [both], Cut(64)) == (*spec.head, Truncate(64), Normalize())
    with pytest.raises(InputError, match=r"--dimensions 64 is more than the 32"):
        choose_head(spec, [both, MEAN], Cut(64))


def test_each_target_takes_the_precisions_that_it_has() -> None:
    fp32, fp16, bf16, int8, fp8 = DType
    every = ("onnxruntime", "tensorrt-rtx", "openvino")
    assert target_dtypes(every, (bf16, fp16, fp32)) == {
        "onnxruntime": (fp16, fp32), "tensorrt-rtx": (fp16,), "openvino": (bf16, fp32),
    }  # fmt: skip
    # The graphs are made whatever the targets are, so nothing is lost.
    assert target_dtypes(("tensorrt-rtx",), (fp32, fp16)) == {"tensorrt-rtx": (fp16,)}
    assert target_dtypes(("openvino",), (bf16,)) == {"openvino": (bf16,)}
    assert target_dtypes(every, (int8, fp16)) == {
        "onnxruntime": (int8, fp16), "tensorrt-rtx": (int8, fp16), "openvino": (int8,),
    }  # fmt: skip
    assert target_dtypes(("onnxruntime", "tensorrt-rtx"), (fp8, int8)) == {
        "onnxruntime": (int8,), "tensorrt-rtx": (fp8, int8),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("targets", "dtypes", "message"),
    [
        (("tensorrt-rtx",), ("fp32",), "--target tensorrt-rtx needs --dtype fp16, int8 or fp8: .*Add --dtype fp16"),
        (("tensorrt-rtx", "openvino"), ("bf16",), "--target tensorrt-rtx needs --dtype fp16, int8 or fp8"),
        (("openvino",), ("fp16",), "--target openvino needs --dtype fp32, bf16 or int8: .*Add --dtype fp32"),
        (("onnxruntime", "openvino"), ("bf16",), "--target onnxruntime needs --dtype fp32, fp16 or int8"),
        (("onnxruntime",), ("bf16",), "--dtype bf16 needs --target openvino"),
        (
            ("onnxruntime", "openvino"),
            ("fp32", "fp8"),
            "--dtype fp8 needs --target tensorrt-rtx: .*Add --target tensorrt-",
        ),
        (("onnxruntime", "tensorrt-rtx"), ("fp16", "bf16"), "--dtype bf16 needs --target openvino"),
        (
            ("tensorrt",),
            ("fp16", "int8"),
            "--dtype int8 needs --target onnxruntime or openvino or tensorrt-rtx: .*Add --target onnx",
        ),
    ],
)
def test_what_no_target_could_do_is_refused(targets: tuple[str, ...], dtypes: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_dtypes(targets, tuple(DType(name) for name in dtypes))


def test_bf16_alone_has_no_graph() -> None:
    assert [dtype.of_graph for dtype in DType] == [DType.FP32, DType.FP16, DType.FP32, DType.INT8, DType.FP8]
