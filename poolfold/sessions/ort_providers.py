"""ONNX Runtime on an NVIDIA GPU: configure an execution provider, and check that the session uses it.

By default ONNX Runtime computes operators that a provider does not support on the CPU, or all operators if the provider
does not load, and at most logs it. Here that is an error. Tested: the errors. Not run: the providers, which need a GPU.

Source: ONNX Runtime documentation, "CUDA Execution Provider", "TensorRT Execution Provider" and "NVIDIA TensorRT RTX
Execution Provider".
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolfold.errors import TargetUnavailable
from poolfold.manifest import Profile, Range

CPU = "cpu"
PROVIDERS = (CPU, "cuda", "tensorrt", "tensorrt-rtx")

CUDA_NAME = "CUDAExecutionProvider"
TENSORRT_NAME = "TensorrtExecutionProvider"
RTX_NAME = "NvTensorRTRTXExecutionProvider"
_CPU_NAME = "CPUExecutionProvider"
_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
_GPU_PACKAGE = (
    "It comes with onnxruntime-gpu, which replaces onnxruntime: pip uninstall onnxruntime; pip install onnxruntime-gpu"
)
_INSTALL = {
    "cuda": _GPU_PACKAGE,
    "tensorrt": f"{_GPU_PACKAGE}; and TensorRT's own libraries",
    "tensorrt-rtx": "Install it beside onnxruntime: pip install onnxruntime-ep-nv-tensorrt-rtx",
}
_BATCH = Range(min=1, opt=8, max=64)
_WORK = frozenset({"MatMul", "Gemm", "FusedMatMul", "Attention", "MultiHeadAttention", "Softmax", "LayerNormalization"})
"""Operators that do most of a model's work, and must run on the GPU. Others may run on the CPU: ONNX Runtime's CUDA
provider always leaves the arithmetic on shapes to the CPU."""
_ONE_REGISTRATION = threading.Lock()
_registered: set[str] = set()


@dataclass(frozen=True)
class Provider:
    """An execution provider of ONNX Runtime and its settings for a graph.

    name: one of PROVIDERS except `cpu`.
    gpu: the GPU's number.
    inputs: names of the graph's inputs, int64 [batch, seq] each.
    profile: the shapes for which TensorRT builds.
    cache: the folder for engines that TensorRT builds from this graph and its weights.
    """

    name: str
    gpu: int
    inputs: tuple[str, ...]
    profile: Profile
    cache: Path


def choose_profile(profiles: Sequence[Profile], limit: int) -> Profile:
    """One profile that covers those of the engines, tuned as the one with the largest share of texts; or a default.

    Args:
        profiles: those of the engines built from the graph; may be empty.
        limit: the most tokens of a text.
    """
    if not profiles:
        return Profile(batch=_BATCH, seq_len=Range(min=1, opt=min(128, limit), max=limit))
    tuned = max(profiles, key=lambda profile: profile.share or 0.0)
    return Profile(
        batch=_span([profile.batch for profile in profiles], tuned.batch.opt),
        seq_len=_span([profile.seq_len for profile in profiles], tuned.seq_len.opt),
    )


def _span(ranges: Sequence[Range], opt: int) -> Range:
    return Range(min=min(r.min for r in ranges), opt=opt, max=max(r.max for r in ranges))


def provider_options(provider: Provider, *, version: str) -> dict[str, str]:
    """A provider's options as ONNX Runtime expects them: strings only.

    Args:
        provider: the provider.
        version: the version of ONNX Runtime; each version has a cache of its own.
    """
    device = {"device_id": str(provider.gpu)}
    if provider.name == "cuda":
        return {**device, "use_tf32": "0"}  # fp32 stays fp32
    shapes = _shapes(provider.profile, provider.inputs)
    cache = str(provider.cache / version)
    if provider.name == "tensorrt":
        return {
            **device,
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": cache,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": cache,
            **{f"trt_profile_{bound}_shapes": shape for bound, shape in shapes.items()},
        }
    return {
        **device,
        "nv_runtime_cache_path": cache,
        **{f"nv_profile_{bound}_shapes": shape for bound, shape in shapes.items()},
    }


def _shapes(profile: Profile, inputs: Sequence[str]) -> dict[str, str]:
    """`min`, `opt` and `max` -> `name:BATCHxSEQ,...`."""
    batch, seq = profile.batch, profile.seq_len
    bounds = {"min": (batch.min, seq.min), "opt": (batch.opt, seq.opt), "max": (batch.max, seq.max)}
    return {bound: ",".join(f"{name}:{rows}x{tokens}" for name in inputs) for bound, (rows, tokens) in bounds.items()}


def add_provider(ort: Any, options: Any, provider: Provider) -> list[Any]:
    """Configure a session to compute with a provider.

    Args:
        ort: the module `onnxruntime`.
        options: the session's options; entries, and the devices of a plugin, are added.
        provider: the provider.

    Returns:
        The argument `providers` for the session.

    Raises:
        TargetUnavailable: the provider is not installed, or has no such GPU.
    """
    values = provider_options(provider, version=ort.__version__)
    if provider.name != "cuda":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    else:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    available = ort.get_available_providers()
    name = {"cuda": CUDA_NAME, "tensorrt": TENSORRT_NAME, "tensorrt-rtx": RTX_NAME}[provider.name]
    plugin = None if provider.name != "tensorrt-rtx" or name in available else _find_plugin()
    if plugin is None and name not in available:
        raise TargetUnavailable(
            f"provider {provider.name} is not available here: onnxruntime {ort.__version__} has "
            f"{', '.join(available)}; expected {name}. {_INSTALL[provider.name]}"
        )
    if provider.name != "cuda":
        (provider.cache / ort.__version__).mkdir(parents=True, exist_ok=True)
    if plugin is not None:
        _add_plugin(ort, options, plugin, provider, values)
        return []
    # CUDA computes the parts of a graph that TensorRT does not accept, such as a single operator.
    rest = [(CUDA_NAME, {"device_id": str(provider.gpu)})] if name == TENSORRT_NAME and CUDA_NAME in available else []
    return [(name, values), *rest]


def _find_plugin() -> Any | None:
    try:
        return importlib.import_module(_PLUGIN)
    except (ImportError, OSError):
        return None


def _add_plugin(ort: Any, options: Any, plugin: Any, provider: Provider, values: Mapping[str, str]) -> None:
    """Register the plugin once per process, and select the GPU among its devices."""
    name = plugin.get_ep_name()
    with _ONE_REGISTRATION:
        if name not in _registered:
            ort.register_execution_provider_library(name, plugin.get_library_path())
            _registered.add(name)
    devices = [device for device in ort.get_ep_devices() if device.ep_name == name]
    if provider.gpu >= len(devices):
        raise TargetUnavailable(
            f"provider {provider.name} finds no GPU number {provider.gpu} that it can use here; it has {len(devices)}, "
            "counted from 0. Use provider cpu."
        )
    # The device selects the GPU, so the option device_id is left out.
    chosen = {key: value for key, value in values.items() if key != "device_id"}
    options.add_provider_for_devices([devices[provider.gpu]], chosen)


def require_used(ort: Any, session: Any, provider: Provider, path: Path) -> None:
    """Check that a session computes with its provider.

    Raises:
        TargetUnavailable: ONNX Runtime fell back to the CPU, for all operators or for some.
    """
    name = {"cuda": CUDA_NAME, "tensorrt": TENSORRT_NAME, "tensorrt-rtx": RTX_NAME}[provider.name]
    active = session.get_providers()
    # A plugin chooses its provider's name itself, so for a plugin any registered name is accepted.
    if name not in active and not (provider.name == "tensorrt-rtx" and set(active) & _registered):
        raise TargetUnavailable(
            f"onnxruntime {ort.__version__} would compute {path} with {', '.join(active)}; expected {name}. Its log "
            "says what the provider lacks here: an NVIDIA driver, or CUDA or TensorRT libraries of its release. Or use "
            "provider cpu."
        )
    if provider.name == "cuda":
        left = work_on_cpu(ort, session)
        if left:
            raise TargetUnavailable(
                f"onnxruntime {ort.__version__} would compute {', '.join(left)} of {path} on the CPU; expected {name}. "
                "Upgrade onnxruntime-gpu, or use provider cpu."
            )


def work_on_cpu(ort: Any, session: Any) -> tuple[str, ...]:
    """Operators that do most of a model's work and that a session computes on the CPU, each once.

    Raises:
        TargetUnavailable: this release of ONNX Runtime does not report where it computes an operator.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise TargetUnavailable(
            f"onnxruntime {ort.__version__} does not tell where it computes what. Upgrade it, or use provider cpu."
        )
    nodes = (
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == _CPU_NAME
        for node in part.get_nodes()
    )
    return tuple(sorted(set(nodes) & _WORK))
