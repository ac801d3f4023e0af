"""The engines an artifact can be made for, one file each, and whether they work on this machine.

onnxruntime       runs the graphs as they are
openvino          compiles a graph for this CPU, in memory
tensorrt_rtx      builds an engine from a graph, ahead of time
rtx_library       the TensorRT-RTX library: loaded when needed, its log, its progress
rtx_network       a TensorRT-RTX network from a graph: parsed, its types checked, its profiles set
rtx_inspect       what a TensorRT-RTX network and engine hold: types, attention layers, fused kernels
availability      what `poolfold targets` says of a target
precisions        which precisions each target has
"""

from __future__ import annotations

from exporter.targets.availability import Availability

__all__ = ["Availability", "availability"]


def availability() -> tuple[Availability, ...]:
    """Each target of this release, tried on this machine by loading its library."""
    from exporter.targets import onnxruntime, openvino, tensorrt_rtx

    return onnxruntime.availability(), openvino.availability(), tensorrt_rtx.availability()
