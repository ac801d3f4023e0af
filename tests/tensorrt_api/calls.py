"""Which names of TensorRT's API a source file uses, read off its syntax tree.

A name counts where its root is known: the module itself (`trt.X`, `library.trt.X`), or a variable that the file uses
for one class throughout (`config.set_flag` -> `IBuilderConfig.set_flag`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "shapes": "IOptimizationProfile",
    "layer": "ILayer",
    "cache": "ITimingCache",
    "inspector": "EngineInspector",
    "runtime": "Runtime",
    "cuda_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "refitter": "Refitter",
    "onnx_refitter": "OnnxParserRefitter",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
    "error": "ParserError",
}


def used(file: Path, classes: Mapping[str, str] = CLASSES) -> set[str]:
    """Dotted names below the module, such as `BuilderFlag.TF32` and `IBuilderConfig.set_flag`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        name = None
        if isinstance(node, ast.Attribute):
            name = _dotted(node, classes)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
            # A name that may be missing: only its owner must exist.
            name = _dotted(node.args[0], classes)
        if name:
            found.add(name)
    # Of a.b.c both a.b and a.b.c were seen; a member of an enum's member (`.name`) is Python's own.
    return {name for name in found if not name.endswith((".name", ".__members__", ".__version__"))} - {"__version__"}


def _dotted(node: ast.expr, classes: Mapping[str, str]) -> str | None:
    """The name below the module, or None where the root is something else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or not parts:
        return None
    parts.reverse()
    if node.id == "trt":
        return ".".join(parts)
    if parts[0] == "trt" and len(parts) > 1:
        return ".".join(parts[1:])
    return f"{classes[node.id]}.{parts[0]}" if node.id in classes else None
