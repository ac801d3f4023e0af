"""Target `openvino`: compiles a graph for this machine's CPU, in memory, so there is no engine file.

What a compilation proves: OpenVINO reads the graph, executes it in the precision that was asked for, and how many
attention layers one fused kernel computes. Its vectors are checked afterwards, through the loader that ships.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.targets.interface import Availability, EngineRequest, no_options
from poolfold.errors import TargetUnavailable
from poolfold.manifest import Engine
from poolfold.sessions.int8_products import exact_products
from poolfold.sessions.openvino import DEVICE, compile_graph, load_library, require_precision

__all__ = ["availability", "compile_and_inspect", "make_engine", "require_precision", "require_supported"]

NAME = "openvino"
require_supported = no_options
_NOT_ROUNDED = (
    "this CPU has no VNNI, so that products are computed in fp32 here: no faster, and what a CPU with VNNI rounds is "
    "rehearsed and not run"
)
_DECOMPOSED = "Softmax_"
"""So begins OpenVINO's own name of the softmax, where it takes an attention operator apart to generate a kernel."""


@dataclass(frozen=True)
class Compilation:
    """What came of compiling a graph.

    attention_fused: attention layers that one fused kernel computes.
    warnings: what may cost accuracy, in words.
    seconds: reading and compiling.
    """

    library_version: str
    attention_fused: int
    warnings: tuple[str, ...]
    seconds: float


def availability() -> Availability:
    """Whether OpenVINO loads here, on which CPU, and in which precisions it executes there."""
    does = "runs graphs on the CPU"
    try:
        openvino = load_library()
        core = openvino.Core()
        device = core.get_property(DEVICE, "FULL_DEVICE_NAME")
    except (TargetUnavailable, RuntimeError) as error:
        return Availability(NAME, available=False, version=None, reason=str(error), does=does)
    try:
        require_precision("bf16")
        precisions = "in fp32 and bf16"
    except TargetUnavailable:
        precisions = "in fp32; it has no bf16"
    return Availability(NAME, True, _version(openvino), reason=None, does=f"{does} ({device}), {precisions}")


def make_engine(request: EngineRequest) -> Engine:
    """Compile a graph in one precision: an engine without a file but the graph's own.

    Raises:
        PoolfoldError: as `compile_and_inspect`.
    """
    graph = request.graph
    done = compile_and_inspect(request.directory / request.source, request.dtype, request.threads)
    unfused = graph.attention_layers - done.attention_fused
    return Engine(
        path=request.source,
        target=NAME,
        strategy=graph.strategy,
        dtype=request.dtype,
        status="built",
        graph=request.source,
        form=request.form,
        library=NAME,
        library_version=done.library_version,
        compute_capabilities=(),
        version_compatible=False,
        hardware_compatibility="none",
        stripped=False,
        profiles=(),
        contents=None,
        attention_layers=graph.attention_layers,
        attention_fused=done.attention_fused,
        build_seconds=round(done.seconds, 3),
        warnings=(
            *done.warnings,
            *((f"attention is not fused in {unfused} of {graph.attention_layers} layers",) if unfused else ()),
        ),
    )


def compile_and_inspect(graph: Path, dtype: str, threads: int | None) -> Compilation:
    """Compile a graph as the shipping session does, and look at what came of it.

    Args:
        graph: an ONNX graph in fp32, or one for OpenVINO in int8; external data beside it.
        dtype: "fp32", "bf16" or "int8".
        threads: threads of one run; None for OpenVINO's own choice.

    Raises:
        ArtifactError: OpenVINO cannot read or compile the graph.
        TargetUnavailable: OpenVINO is not here, or does not execute in that precision on this CPU.
    """
    openvino = load_library()
    started = time.perf_counter()
    model, compiled = compile_graph(graph, dtype=dtype, threads=threads)
    seconds = time.perf_counter() - started
    rounded = rounded_indices(compiled)
    warning = f"{rounded} index computations run in bf16, which has 8 bits: positions may be taken for their neighbours"
    warnings = [warning] * bool(rounded) + [_NOT_ROUNDED] * (dtype == "int8" and exact_products() == "1")
    return Compilation(
        library_version=_version(openvino),
        attention_fused=fused_attention(model, compiled),
        warnings=tuple(warnings),
        seconds=seconds,
    )


def fused_attention(model: Any, compiled: Any) -> int:
    """How many attention layers are one kernel: the CPU plugin's own, or one generated from the layer's operators.

    Args:
        model: the graph as read, which tells what each operator was.
        compiled: the same, compiled; each of its kernels names the operators that it computes.
    """
    softmaxes = {op.get_friendly_name() for op in _of_type(model, "Softmax")}
    products = {op.get_friendly_name() for op in _of_type(model, "MatMul", "ScaledDotProductAttention")}
    fused = 0
    for kernel in _kernels(compiled):
        kind, names = kernel["layerType"], set(kernel["originalLayersNames"].split(","))
        has_softmax = bool(names & softmaxes) or any(name.startswith(_DECOMPOSED) for name in names)
        # Not every generated kernel is an attention, and not every one with a softmax has the products around it.
        fused += kind == "ScaledDotProductAttention" or (kind == "Subgraph" and has_softmax and bool(names & products))
    return fused


def rounded_indices(compiled: Any) -> int:
    """How many numbers are computed in bf16 and then made whole, as the positions in an embedding table are.

    Nothing that a session can say keeps these in fp32; the parity checks tell whether it matters.
    """
    wholes = (k for k in _kernels(compiled) if k["layerType"] == "Convert" and k["outputPrecisions"][:1] in ("i", "u"))
    return sum(kernel["runtimePrecision"] == "bf16" for kernel in wholes)


def _kernels(compiled: Any) -> Iterable[Mapping[str, str]]:
    """What the CPU plugin runs, each with its kind, its precisions and the operators that it computes."""
    for op in compiled.get_runtime_model().get_ops():
        yield {key: value.astype(str) for key, value in op.get_rt_info().items()}


def _of_type(model: Any, *types: str) -> Iterable[Any]:
    return (op for op in model.get_ops() if op.get_type_name() in types)


def _version(openvino: Any) -> str:
    """The release, such as 2026.4.1, without the build number."""
    version: str = openvino.__version__
    return version.partition("-")[0]
