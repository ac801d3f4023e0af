"""The targets that an artifact can be made for: one file each, and how their engines are made.

interface         what a target's file has
onnxruntime       runs the graphs as they are
openvino          compiles a graph for this CPU, in memory
tensorrt          builds engine files for this machine's GPU
tensorrt_rtx      builds engine files ahead of time, without a GPU
engines           the engines of an artifact, made beside other work
engine_files      what the two that build engine files share
engine_builder    builds an engine from a graph
engine_config     how the library is told to build: shapes, GPUs, options
engine_inspector  what TensorRT's inspector says of an engine
plan_listing      what a TensorRT-RTX engine lists of itself, without a GPU
timing_cache      TensorRT's timing cache, kept between builds
build_progress    how far a build is
trt_library       the library itself, with its log
trt_network       a network from a graph: parsed, its types checked
attention_layers  the attention layers of a network

`poolfold.sessions.targets` has the record of each target; the record's name leads to the file.
"""

from __future__ import annotations

import importlib
from typing import cast

from exporter.targets.interface import Availability, TargetModule
from poolfold.sessions import targets
from poolfold.sessions.targets import find_target

__all__ = ["Availability", "availability", "target_module"]


def target_module(name: str) -> TargetModule:
    """The file of a target."""
    return cast("TargetModule", importlib.import_module(f"exporter.targets.{find_target(name).module}"))


def availability() -> tuple[Availability, ...]:
    """Each target of this release, tried on this machine by loading its library."""
    return tuple(target_module(target.name).availability() for target in targets.TARGETS)
