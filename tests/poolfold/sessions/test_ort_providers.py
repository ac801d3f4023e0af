"""ONNX Runtime's providers on a GPU: what they are told, and that none is replaced by the CPU without a word."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import onnxruntime
import pytest

import poolfold
from poolfold.errors import InputError, TargetUnavailable
from poolfold.manifest import Profile, Range
from poolfold.sessions.ort_providers import PROVIDERS, Provider, provider_options
from tests.artifacts import write_artifact

SHORT = Profile(batch=Range(min=1, opt=8, max=64), seq_len=Range(min=1, opt=32, max=32))
LONG = Profile(batch=Range(min=1, opt=4, max=16), seq_len=Range(min=33, opt=64, max=128))


def test_cuda_is_told_its_gpu():
    assert provider_options(Provider("cuda", 2), Path("/cache")) == [("CUDAExecutionProvider", {"device_id": "2"})]


def test_tensorrt_is_told_shapes_and_caches():
    assert provider_options(Provider("tensorrt", 0, (SHORT, LONG)), Path("/cache")) == [
        (
            "TensorrtExecutionProvider",
            {
                "device_id": "0",
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": "/cache",
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": "/cache",
                "trt_profile_min_shapes": "input_ids:1x1,attention_mask:1x1,input_ids:1x33,attention_mask:1x33",
                "trt_profile_opt_shapes": "input_ids:8x32,attention_mask:8x32,input_ids:4x64,attention_mask:4x64",
                "trt_profile_max_shapes": "input_ids:64x32,attention_mask:64x32,input_ids:16x128,attention_mask:16x128",
            },
        ),
        ("CUDAExecutionProvider", {"device_id": "0"}),
    ]


def test_tensorrt_rtx_is_told_shapes_and_a_cache():
    assert provider_options(Provider("tensorrt-rtx", 1, (SHORT,)), Path("/cache")) == [
        (
            "NvTensorRTRTXExecutionProvider",
            {
                "device_id": "1",
                "nv_runtime_cache_path": "/cache",
                "nv_profile_min_shapes": "input_ids:1x1,attention_mask:1x1",
                "nv_profile_opt_shapes": "input_ids:8x32,attention_mask:8x32",
                "nv_profile_max_shapes": "input_ids:64x32,attention_mask:64x32",
            },
        )
    ]


@pytest.mark.parametrize(
    ("provider", "package"),
    [
        ("cuda", "onnxruntime-gpu, installed in the place of onnxruntime"),
        ("tensorrt", "onnxruntime-gpu"),
        ("tensorrt-rtx", "onnxruntime-ep-nv-tensorrt-rtx"),
    ],
)
def test_a_provider_that_this_install_lacks_is_refused(tmp_path: Path, provider: str, package: str) -> None:
    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    write_artifact(tmp_path / "DIR")
    with pytest.raises(TargetUnavailable, match=rf"{provider} is not in this install: onnxruntime .*CPU.*{package}"):
        poolfold.load(tmp_path / "DIR", provider=provider)


def test_a_plugin_without_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The plug-in's module as its package describes it; ONNX Runtime itself is asked for devices, and has none.
    plugin = types.SimpleNamespace(get_ep_name=lambda: "NoSuchProvider", get_library_path=lambda: "/no/such/library.so")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", plugin)
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda name, path: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_artifact(tmp_path / "DIR")
    with pytest.raises(TargetUnavailable, match="found 0 GPUs that it supports; got GPU number 0"):
        poolfold.load(tmp_path / "DIR", provider="tensorrt-rtx")


def test_another_provider_or_target_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path / "DIR")
    with pytest.raises(InputError, match=rf"unknown provider 'rocm'; expected one of {', '.join(PROVIDERS)}"):
        poolfold.load(tmp_path / "DIR", provider="rocm")
    with pytest.raises(InputError, match="provider cuda is one of ONNX Runtime's; got target openvino"):
        poolfold.load(tmp_path / "DIR", target="openvino", provider="cuda")
