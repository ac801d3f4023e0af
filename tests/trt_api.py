"""The names of NVIDIA's two libraries, as their own bindings have them, and those that a file of ours calls.

TensorRT's bindings load without TensorRT, over libraries that only have the nine symbols they look for: no object can
be made then, and every class, method and flag is there to be looked at.
"""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_SYMBOLS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry"),
    *("getPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins"),
)
_LIBRARIES = ("libnvinfer.so.11", "libnvonnxparser.so.11", "libnvinfer_plugin.so.11")
_ASK = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
for name in sys.argv[2:]:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        print(name)
"""


def stub_libraries(folder: Path) -> Path:
    """Libraries that TensorRT's bindings load and that do nothing, in `folder`."""
    source = folder / "stub.c"
    source.write_text("\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in _SYMBOLS))
    for name in _LIBRARIES:
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(command, check=True)
    return folder


def missing(module: str, names: frozenset[str], libraries: Path | None = None) -> list[str]:
    """Which of the names, such as `Runtime.deserialize_cuda_engine`, a module lacks; asked in a process of its own."""
    extra = {} if libraries is None else {"LD_LIBRARY_PATH": str(libraries)}
    command = [sys.executable, "-c", _ASK, module, *sorted(names)]
    done = subprocess.run(command, env={**os.environ, **extra}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def called(path: Path, classes: Mapping[str, str]) -> frozenset[str]:
    """The library's names that a file mentions.

    Args:
        path: the file.
        classes: variable -> the library's class that it holds; `trt` is the module itself, "".
    """
    found = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute):
            *holder, attribute = _parts(node)
            for at, variable in enumerate(holder):
                if variable in classes:
                    rest = [*holder[at + 1 :], attribute]
                    # Of an object only the first name is its own; of the module three: class, enumeration, flag.
                    known = rest[:3] if classes[variable] == "" else rest[:1]
                    found.add(".".join(filter(None, [classes[variable], *known])))
    return frozenset(found)


def _parts(node: ast.expr) -> list[str]:
    """`loaded.engine.name` -> its three names; what is no name is left out."""
    if isinstance(node, ast.Attribute):
        return [*_parts(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else []
