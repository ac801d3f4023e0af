"""Target `tensorrt-rtx`: builds an engine from a graph ahead of time, on a machine with or without a GPU.

What a build proves: the library's own parser takes the graph; every node has a kernel in the precision that the graph
asks for; and, of each attention layer, whether a single fused kernel computes it. What it cannot prove, and only a run
on an NVIDIA GPU can: the vectors, the speed, and that the engine loads there. So such an engine is "built", not
"validated".

Source: TensorRT-RTX documentation, "Compile engines on the CPU".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.targets import rtx_inspect, rtx_library, rtx_network
from exporter.targets.availability import Availability
from exporter.targets.rtx_library import Report
from poolfold.errors import CheckFailed, InputError, TargetUnavailable
from poolfold.manifest import Profile

NAME = "tensorrt-rtx"
_NO_KERNEL = "not supported by a dedicated kernel"
_ONE_BUILD = threading.Lock()


@dataclass(frozen=True)
class EngineBuild:
    """What was built, and with what.

    library_version: the engine runs with exactly this version.
    compute_capabilities: of the GPUs it can run on, such as "8.6".
    attention_layers: how many the graph has.
    attention_fused: how many of them are computed by one fused kernel, in every profile.
    build_seconds: parsing and building.
    warnings: the library's, and ours.
    """

    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    attention_layers: int
    attention_fused: int
    build_seconds: float
    warnings: tuple[str, ...]


def availability() -> Availability:
    """Whether the library loads here. It builds engines without a GPU; this release never runs them."""
    does = (
        "builds engines, without a GPU; running them needs an NVIDIA GPU of compute capability "
        "8.0, 8.6, 8.9 or 12.0, and is not done by this release"
    )
    try:
        version = rtx_library.load().__version__
    except TargetUnavailable as error:
        return Availability(NAME, available=False, version=None, reason=str(error), does=does)
    return Availability(NAME, available=True, version=version, reason=None, does=does)


def build_engine(graph: Path, engine: Path, profiles: Sequence[Profile], progress: Report | None = None) -> EngineBuild:
    """Build an engine and write it, whole or not at all.

    The same graph and profiles give the same bytes. One build runs at a time in a process; other threads go on.

    Args:
        graph: an ONNX graph, external data beside it: int64 [batch, seq] inputs -> float32 `sentence_embedding`.
        engine: the file to write; its folder is made where missing.
        profiles: the shapes that the engine is to accept; one at least.
        progress: called from another thread with (phase, fraction done).

    Raises:
        InputError: a profile whose numbers do not rise, or a graph that the library cannot parse or has no kernels for.
        CheckFailed: the build failed for another reason, or what was built is not what the graph says.
        TargetUnavailable: the library is not here.
    """
    rtx_network.check_profiles(profiles)
    monitor = rtx_library.progress_monitor(progress)
    # A thread of its own, since Ctrl-C in a callback of the library is lost, and here it ends the wait.
    with _ONE_BUILD, ThreadPoolExecutor(1, "tensorrt-rtx") as pool:
        try:
            return pool.submit(_build, graph, engine, profiles, monitor).result()
        except BaseException:
            monitor.cancelled = True
            raise


def _build(graph: Path, engine: Path, profiles: Sequence[Profile], monitor: Any) -> EngineBuild:
    """`build_engine`, in its thread."""
    trt, log = rtx_library.load(), rtx_library.log()
    log.lines.clear()
    started = time.perf_counter()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx_network.parse(trt, network, graph)
    attention = rtx_inspect.attention_layers(trt, network)
    has_half = rtx_network.check_types(trt, network, graph)
    config = rtx_network.configure(trt, builder, network, profiles)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    del parser  # it owned the weights until here
    if monitor.cancelled:
        raise monitor.error or KeyboardInterrupt
    if plan is None:
        raise _why_not_built(trt, graph, attention)
    seconds = time.perf_counter() - started
    content = memoryview(plan)
    left = rtx_inspect.unfused(content, attention, len(profiles))
    if left is not None and has_half and not rtx_inspect.holds_half(content):
        raise CheckFailed(
            f"{graph} holds float16 weights and the engine built from it no float16 tensor; expected the graph's own "
            f"precisions. Install another version of TensorRT-RTX than {trt.__version__}."
        )
    _write(content, engine)
    capabilities = (int(config.get_compute_capability(i)) for i in range(config.num_compute_capabilities))
    return EngineBuild(
        library=NAME,
        library_version=trt.__version__,
        compute_capabilities=tuple(f"{number // 10}.{number % 10}" for number in capabilities),
        attention_layers=len(attention),
        attention_fused=0 if left is None else len(attention) - len(left),
        build_seconds=seconds,
        warnings=(*rtx_library.warnings(), *_attention_warnings(trt, left)),
    )


def _why_not_built(trt: Any, graph: Path, attention: Sequence[rtx_inspect.Attention]) -> InputError | CheckFailed:
    """The error of a build that gave no engine."""
    reason = rtx_library.errors()
    single = [layer for layer in attention if layer.head_size is not None]
    if _NO_KERNEL not in reason or not single:
        return CheckFailed(
            f"TensorRT-RTX {trt.__version__} could not build an engine from {graph}: {reason}. "
            "Use target onnxruntime for this model, and report it."
        )
    # The library does not say which; a graph's attention layers are all alike but for those that a rule keeps fp32.
    first = next((layer for layer in single if layer.dtype == "FLOAT"), single[0])
    what_to_do = "Export with --dtype fp16." if first.dtype == "FLOAT" else "Use target onnxruntime for this model."
    return InputError(
        f"TensorRT-RTX {trt.__version__} has no kernel for the attention in {graph}, node {first.node}: got "
        f"{first.dtype} with a head size of {first.head_size}; expected HALF and one from 16 to 256. {what_to_do}"
    )


def _attention_warnings(trt: Any, left: Sequence[rtx_inspect.Attention] | None) -> tuple[str, ...]:
    """What to say of attention that is not fused, or cannot be told."""
    if left is None:
        unknown = f"engines of TensorRT-RTX {trt.__version__} do not list their kernels in a form known here"
        return (f"{unknown}: no attention layer is counted as fused",)
    return tuple(f"attention is not fused in {layer.node} ({layer.dtype})" for layer in left)


def _write(content: memoryview, engine: Path) -> None:
    """Write the engine under another name first, so that a file of its own name is always whole."""
    engine.parent.mkdir(parents=True, exist_ok=True)
    partial = engine.with_name(f"{engine.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(engine)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
