"""TensorRT's Python bindings without TensorRT: over libraries that define the nine symbols they look for.

Nothing can be created with them; every class, method, property and enumeration is there to be asked for. They are
loaded in a process of their own, since two generations of one library do not live in one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
)
_LIBRARIES = ("libnvinfer.so.11", "libnvonnxparser.so.11", "libnvinfer_plugin.so.11")
_ASK = """
import functools, importlib, json, sys
module = importlib.import_module(sys.argv[1])
def there(name):
    try:
        functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        return False
    return True
print(json.dumps([module.__version__, [name for name in json.load(sys.stdin) if not there(name)]]))
"""


def missing(module: str, names: Iterable[str], folder: Path) -> tuple[str, set[str]]:
    """The version of a module's bindings, and which of the names they lack.

    Args:
        module: `tensorrt_bindings`, or `tensorrt_rtx`, which brings its own libraries.
        folder: an empty one, for the libraries.
    """
    environment = dict(os.environ)
    if module == "tensorrt_bindings":
        environment["LD_LIBRARY_PATH"] = str(_stubs(folder))
    answer = subprocess.run(
        [sys.executable, "-c", _ASK, module],
        input=json.dumps(sorted(names)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    version, lacking = json.loads(answer.stdout.splitlines()[-1])
    return version, set(lacking)


def _stubs(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "this test needs a C compiler: install gcc"
    source = folder / "stub.c"
    source.write_text("".join(f"void* {symbol}(void) {{ return 0; }}\n" for symbol in _SYMBOLS))
    for name in _LIBRARIES:
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(command, check=True, timeout=60)
    return folder
