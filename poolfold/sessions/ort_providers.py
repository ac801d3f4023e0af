"""ONNX Runtime's execution providers on NVIDIA GPUs: their names, their options, and where each comes from.

What the options say is pure, and tested; nothing of it was run, since it needs a GPU.

Source: ONNX Runtime documentation, "CUDA", "TensorRT" and "NVIDIA TensorRT RTX execution provider".
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from poolfold.errors import InputError, TargetUnavailable
from poolfold.manifest import Profile

CPU = "cpu"
CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_RTX = "NvTensorRTRTXExecutionProvider"
_RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"

_NAMES = {"cuda": CUDA, "tensorrt": _TENSORRT, "tensorrt-rtx": _RTX}
_BROUGHT_BY = {
    "cuda": "onnxruntime-gpu, installed in the place of onnxruntime",
    "tensorrt": "onnxruntime-gpu, installed in the place of onnxruntime, with TensorRT beside it",
    "tensorrt-rtx": "onnxruntime-ep-nv-tensorrt-rtx, beside onnxruntime",
}
PROVIDERS = (CPU, *_NAMES)
"""As `provider=` and `--provider` take them."""


@dataclass(frozen=True)
class Provider:
    """What a session runs on.

    name: one of PROVIDERS.
    gpu: the GPU's number.
    profiles: shapes that a provider which compiles for shapes is to expect.
    """

    name: str = CPU
    gpu: int = 0
    profiles: tuple[Profile, ...] = ()


def check_provider(name: str, target: str) -> None:
    """Refuse what no machine could make right.

    Raises:
        InputError: an unknown provider, or one for another target than onnxruntime.
    """
    if name not in PROVIDERS:
        raise InputError(f"unknown provider {name!r}; expected one of {', '.join(PROVIDERS)}.")
    if name != CPU and target != "onnxruntime":
        raise InputError(f"provider {name} is one of ONNX Runtime's; got target {target}. Use target onnxruntime.")


def provider_options(provider: Provider, cache: Path) -> list[tuple[str, Mapping[str, str]]]:
    """ONNX Runtime's providers for a session, first come first served, each with its options.

    Args:
        provider: not CPU.
        cache: the folder in which compiled engines and timings are kept.
    """
    device = {"device_id": str(provider.gpu)}
    cuda = (CUDA, device)
    if provider.name == "cuda":
        return [cuda]
    shapes = _shapes(provider.profiles)
    if provider.name == "tensorrt":
        options = device | {
            # Precision is in the graph; the switches for it are gone with TensorRT 11.
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(cache),
            **{f"trt_profile_{which}_shapes": shape for which, shape in shapes.items()},
        }
        return [(_TENSORRT, options), cuda]
    options = device | {
        "nv_runtime_cache_path": str(cache),
        **{f"nv_profile_{which}_shapes": shape for which, shape in shapes.items()},
    }
    return [(_RTX, options)]


def _shapes(profiles: Sequence[Profile]) -> dict[str, str]:
    """Least, tuned and largest shapes of both inputs in every profile, as the providers write them."""
    found = {}
    for which in ("min", "opt", "max"):
        listed = []
        for profile in profiles:
            shape = f"{getattr(profile.batch, which)}x{getattr(profile.seq_len, which)}"
            listed += [f"{name}:{shape}" for name in ("input_ids", "attention_mask")]
        found[which] = ",".join(listed)
    return found


def open_session(onnxruntime: Any, path: Path, options: Any, provider: Provider) -> Any:
    """A session on a GPU.

    Raises:
        TargetUnavailable: the provider is not in this install, or does not work on this machine; ONNX Runtime itself
            would go on, on the CPU.
    """
    cache = user_cache_path("poolfold") / "onnxruntime" / f"{onnxruntime.__version__}-{provider.name}"
    wanted = _NAMES[provider.name]
    chain = provider_options(provider, cache)
    if provider.name != "cuda":
        # Not for CUDA, which leaves arithmetic on shapes to the CPU on purpose.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if provider.name == "tensorrt-rtx" and wanted not in onnxruntime.get_available_providers():
        return _open_with_plugin(onnxruntime, path, options, dict(chain[0][1]))
    if wanted not in onnxruntime.get_available_providers():
        raise TargetUnavailable(_missing(onnxruntime, provider))
    cache.mkdir(parents=True, exist_ok=True)
    session = onnxruntime.InferenceSession(path, options, providers=[(name, dict(given)) for name, given in chain])
    if session.get_providers()[0] != wanted:
        raise TargetUnavailable(
            f"provider {provider.name} does not work here: onnxruntime {onnxruntime.__version__} fell back to "
            f"{', '.join(session.get_providers())}; its log says why. Mend the GPU's driver and libraries, or use "
            "provider cpu."
        )
    return session


def _open_with_plugin(onnxruntime: Any, path: Path, options: Any, given: dict[str, str]) -> Any:
    """TensorRT-RTX as a plug-in, which brings its own libraries."""
    try:
        plugin = importlib.import_module(_RTX_PLUGIN)
    except (ImportError, OSError):
        raise TargetUnavailable(_missing(onnxruntime, Provider("tensorrt-rtx"))) from None
    Path(given["nv_runtime_cache_path"]).mkdir(parents=True, exist_ok=True)
    name = plugin.get_ep_name()
    if all(device.ep_name != name for device in onnxruntime.get_ep_devices()):
        onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
    number = int(given.pop("device_id"))
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if number >= len(devices):
        raise TargetUnavailable(
            f"provider tensorrt-rtx found {len(devices)} GPUs that it supports; got GPU number {number}. Use provider "
            "cpu, or another GPU."
        )
    options.add_provider_for_devices([devices[number]], given)
    return onnxruntime.InferenceSession(path, sess_options=options)


def _missing(onnxruntime: Any, provider: Provider) -> str:
    here = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return (
        f"provider {provider.name} is not in this install: onnxruntime {onnxruntime.__version__} has {here}. It comes "
        f"with {_BROUGHT_BY[provider.name]}. Install that, or use provider cpu."
    )
