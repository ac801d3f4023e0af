"""Targets `tensorrt` and `tensorrt-rtx`: an engine from a graph, strongly typed, with one builder for both libraries.

TensorRT-RTX builds ahead of time, on a machine with or without a GPU; TensorRT builds for the GPU of this machine.
What a build proves: the library's own parser takes the graph; every node has a kernel in the precision that the graph
asks for; and, of each attention layer, whether a single fused kernel computes it. What it cannot prove, and only a run
on an NVIDIA GPU can: the vectors, the speed, and that the engine loads there. So such an engine is "built", not
"validated".

Source: TensorRT documentation, "Python API" and "Strongly typed networks"; TensorRT-RTX documentation, "Compile engines
on the CPU". No build with TensorRT itself was run: see docs/targets.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.spec.build_options import BuildOptions
from exporter.targets import build_progress, plan_listing, trt_library, trt_network
from exporter.targets.attention_layers import Attention, attention_layers
from exporter.targets.build_progress import Report
from exporter.targets.engine_config import check_profiles, configure
from exporter.targets.engine_inspector import inspect_engine
from exporter.targets.timing_cache import cache_file, timing_cache
from exporter.targets.trt_library import Library
from poolfold.errors import CheckFailed, InputError, TargetUnavailable
from poolfold.manifest import Contents, Profile
from poolfold.sessions.tensorrt.gpu import Gpu, find_gpu
from poolfold.sessions.tensorrt.library import log
from poolfold.sessions.user_cache import write_whole

_NO_KERNEL = "not supported by a dedicated kernel"
_ONE_BUILD = threading.Lock()


@dataclass(frozen=True)
class EngineBuild:
    """What was built, and with what.

    library: as `--target` takes it.
    library_version: the engine runs with exactly this version, unless it is version compatible.
    compute_capabilities: of the GPUs it can run on, such as "8.6".
    contents: what the library says is inside.
    attention_layers: how many the graph has.
    attention_fused: how many of them are computed by one fused kernel, in every profile.
    build_seconds: parsing and building.
    warnings: the library's, and ours.
    """

    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    contents: Contents
    attention_layers: int
    attention_fused: int
    build_seconds: float
    warnings: tuple[str, ...]


def build_engine(
    target: str,
    graph: Path,
    engine: Path,
    profiles: Sequence[Profile],
    options: BuildOptions | None = None,
    progress: Report | None = None,
) -> EngineBuild:
    """Build an engine and write it, whole or not at all.

    With TensorRT-RTX the same graph, profiles and options mostly give the same bytes: engines of one MiniLM graph
    differed in some 300 of 47 million bytes between builds on a busy machine. TensorRT times kernels while it builds,
    so its bytes differ from build to build unless the timing cache holds every kernel already.
    One build runs at a time in a process; other threads go on.

    Args:
        target: `tensorrt` or `tensorrt-rtx`.
        graph: an ONNX graph, external data beside it: int64 [batch, seq] inputs -> float32 `sentence_embedding`.
        engine: the file to write; its folder is made where missing.
        profiles: the shapes that the engine is to accept; one at least.
        options: how to build; None for the library's defaults.
        progress: called from another thread with (phase, fraction done).

    Raises:
        InputError: a profile whose numbers do not rise, or a graph that it cannot parse or has no kernels for.
        CheckFailed: the build failed for another reason, or what was built is not what the graph says.
        TargetUnavailable: the library is not here, or the GPU that TensorRT builds for.
    """
    options = options or BuildOptions()
    check_profiles(profiles)
    library = trt_library.load(target)
    gpu = None if library.is_rtx else require_gpu(library)
    monitor = build_progress.progress_monitor(library, progress)
    # A thread of its own, since Ctrl-C in a callback of the library is lost, and here it ends the wait.
    with _ONE_BUILD, ThreadPoolExecutor(1, target) as pool:
        try:
            return pool.submit(_build, library, gpu, graph, engine, profiles, options, monitor).result()
        except BaseException:
            monitor.cancelled = True
            raise


def require_gpu(library: Library) -> Gpu:
    """The GPU that TensorRT builds for.

    Raises:
        TargetUnavailable: there is none; says why and what to do.
    """
    try:
        return find_gpu(0)
    except TargetUnavailable as error:
        raise TargetUnavailable(
            f"{library.title} builds for the GPU of this machine: {error} On a machine without one, target "
            "tensorrt-rtx builds ahead of time."
        ) from None


def _build(
    library: Library,
    gpu: Gpu | None,
    graph: Path,
    engine: Path,
    profiles: Sequence[Profile],
    options: BuildOptions,
    monitor: Any,
) -> EngineBuild:
    """`build_engine`, in its thread."""
    trt = library.trt
    trt_library.forget(library)
    started = time.perf_counter()
    builder = trt.Builder(log(trt))
    if builder is None:
        raise TargetUnavailable(f"{library.title} cannot make a builder here: {trt_library.errors(library)}.")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt_network.parse(library, network, graph)
    attention = attention_layers(library, network)
    types = trt_network.check_types(library, network, graph)
    config = configure(library, builder, network, profiles, options)
    config.progress_monitor = monitor
    with timing_cache(library, config, None if gpu is None else cache_file(library, gpu.name)):
        plan = builder.build_serialized_network(network, config)
        if monitor.cancelled:
            raise monitor.error or KeyboardInterrupt
        if plan is None:
            raise _why_not_built(library, graph, attention)
    del parser  # it owned the weights until here
    seconds = time.perf_counter() - started
    content = memoryview(plan)
    contents, left = _look_inside(library, content, attention, len(profiles), types)
    require_half(library, graph, types, contents)
    engine.parent.mkdir(parents=True, exist_ok=True)
    write_whole(engine, lambda file: file.write(content))
    return EngineBuild(
        library=library.target,
        library_version=library.version,
        compute_capabilities=_capabilities(config) if gpu is None else (gpu.compute_capability,),
        contents=contents,
        attention_layers=len(attention),
        attention_fused=0 if left is None else len(attention) - len(left),
        build_seconds=seconds,
        warnings=(*trt_library.warnings(library), *_attention_warnings(library, left)),
    )


def require_half(library: Library, graph: Path, types: trt_network.Types, contents: Contents) -> None:
    """Require float16 kernels in an engine whose graph has float16 weights; says nothing of an engine that lists none.

    Raises:
        CheckFailed: otherwise.
    """
    if types.has_half and contents.precisions and "half" not in contents.precisions:
        got = ", ".join(contents.precisions)
        raise CheckFailed(
            f"{graph} holds float16 weights and the kernels of the engine built from it give {got}; expected the "
            f"graph's own precisions. Install another version than {library.title}."
        )


def _capabilities(config: Any) -> tuple[str, ...]:
    numbers = (int(config.get_compute_capability(i)) for i in range(config.num_compute_capabilities))
    return tuple(f"{number // 10}.{number % 10}" for number in numbers)


def _look_inside(
    library: Library,
    content: memoryview,
    attention: Sequence[Attention],
    profiles: int,
    types: trt_network.Types,
) -> tuple[Contents, tuple[Attention, ...] | None]:
    """What is inside an engine, and the attention layers that are not fused; None where it is unknown."""
    if not library.is_rtx:
        runtime = library.trt.Runtime(log(library.trt))
        seen = inspect_engine(library, runtime, content, attention)
        if seen is None:
            raise CheckFailed(
                f"{library.title} cannot load the engine that it has just built: {trt_library.errors(library)}."
            )
        return Contents(
            layers=seen.layers,
            precisions=seen.precisions,
            fp32_kept=types.fp32_nodes,
            device_memory=seen.device_memory,
        ), seen.unfused
    precisions = plan_listing.precisions(content) or {}
    contents = Contents(
        layers=sum(precisions.values()), precisions=precisions, fp32_kept=types.fp32_nodes, device_memory=()
    )
    return contents, plan_listing.unfused(content, attention, profiles)


def _why_not_built(library: Library, graph: Path, attention: Sequence[Attention]) -> InputError | CheckFailed:
    """The error of a build that gave no engine."""
    reason = trt_library.errors(library)
    single = [layer for layer in attention if layer.head_size is not None]
    if _NO_KERNEL not in reason or not single:
        return CheckFailed(
            f"{library.title} could not build an engine from {graph}: {reason}. "
            "Use target onnxruntime for this model, and report it."
        )
    # The library does not say which; a graph's attention layers are all alike but for those that a rule keeps fp32.
    first = next((layer for layer in single if layer.dtype == "FLOAT"), single[0])
    what_to_do = "Export with --dtype fp16." if first.dtype == "FLOAT" else "Use target onnxruntime for this model."
    return InputError(
        f"{library.title} has no kernel for the attention in {graph}, node {first.node}: got "
        f"{first.dtype} with a head size of {first.head_size}; expected HALF and one from 16 to 256. {what_to_do}"
    )


def _attention_warnings(library: Library, left: Sequence[Attention] | None) -> tuple[str, ...]:
    """Warnings of attention that is not fused, or of which it is unknown."""
    if left is None:
        unknown = f"engines of {library.title} do not list their kernels in a form known here"
        return (f"{unknown}: no attention layer is counted as fused",)
    return tuple(f"attention is not fused in {layer.node} ({layer.dtype})" for layer in left)
