"""The engines an artifact can be made for, one file each, and whether they work on this machine.

onnxruntime       runs the graphs as they are
openvino          compiles a graph for this CPU, in memory
engine_builder    tensorrt and tensorrt-rtx: builds an engine from a graph
engine_config     how the library is told to build: shapes, GPUs, options
engine_inspector  what TensorRT's inspector says of an engine
engine_targets    whether the two work on this machine
plan_listing      what a TensorRT-RTX engine lists of itself, without a GPU
timing_cache      TensorRT's timing cache, kept between builds
build_progress    how far a build is
trt_library       the library itself, with its log
trt_network       a network from a graph: parsed, its types checked
attention_layers  the attention layers of a network
availability      what `poolfold targets` says of a target
engines           engines of every strategy, and what the manifest says of each
"""

from __future__ import annotations

from exporter.targets.availability import Availability

__all__ = ["Availability", "availability"]


def availability() -> tuple[Availability, ...]:
    """Each target of this release, tried on this machine by loading its library."""
    from exporter.targets import engine_targets, onnxruntime, openvino
    from poolfold.sessions.tensorrt.library import MODULES

    return (
        onnxruntime.availability(),
        openvino.availability(),
        *(engine_targets.availability(target) for target in MODULES),
    )
