"""An ONNX graph in OpenVINO, on the CPU. Knows graph names, precisions and threads; no texts and no manifest.

OpenVINO executes a graph in a precision of its own choice: an fp32 graph in bf16 wherever the CPU has it, and where it
lacks what was asked for, in another one, without a word. So a precision is asked for by name, and read back.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, InputError, TargetUnavailable
from poolfold.sessions import Opening

DEVICE = "CPU"
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
"""Precisions in which an fp32 graph is executed: our name -> OpenVINO's."""

_REQUIRED = {"input_ids", "attention_mask"}
_OPTIONAL = {"token_type_ids"}
_OUTPUT = "sentence_embedding"
_TELEMETRY = "openvino_telemetry"
_ONE_IMPORT = threading.Lock()


def load_library() -> Any:
    """The module `openvino`, imported without its telemetry.

    Raises:
        TargetUnavailable: it is not installed, or its shared libraries do not load.
    """
    try:
        with _ONE_IMPORT, _telemetry_left_out():
            return importlib.import_module("openvino")
    except (ImportError, OSError) as error:
        raise TargetUnavailable(
            f"target openvino is not available here: {error}. Install it: pip install 'poolfold[openvino]'"
        ) from error


@contextmanager
def _telemetry_left_out() -> Iterator[None]:
    """Importing openvino tells its makers, over the network, unless this package is missing: then a stub stands in."""
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


def require_precision(dtype: str) -> None:
    """Find out whether the CPU executes in a precision, before any graph is read.

    Raises:
        InputError: not one of PRECISIONS.
        TargetUnavailable: the CPU has no instructions for it, or OpenVINO is not here.
    """
    if dtype not in PRECISIONS:
        raise InputError(f"dtype is {dtype!r}; expected {' or '.join(PRECISIONS)}, in which openvino executes a graph.")
    openvino = load_library()
    core = openvino.Core()
    has = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    if dtype.upper() not in has:
        raise TargetUnavailable(
            f"{dtype} is not available in openvino {openvino.__version__} here: this CPU "
            f"({core.get_property(DEVICE, 'FULL_DEVICE_NAME')}) offers {', '.join(sorted(has))}; expected "
            f"{dtype.upper()} among them. Use dtype fp32."
        )


def compile_graph(path: Path, *, dtype: str = "fp32", threads: int | None = None) -> tuple[Any, Any]:
    """Read a graph and compile it for this CPU, in exactly the precision that was asked for.

    Args:
        path: the .onnx file, fp32; its external data lies beside it.
        dtype: one of PRECISIONS.
        threads: threads of one run; None leaves it to OpenVINO, which takes the physical cores.

    Returns:
        The graph as it was read, an `openvino.Model`, and as it runs, an `openvino.CompiledModel`.

    Raises:
        ArtifactError: OpenVINO cannot read or compile the graph.
        TargetUnavailable: OpenVINO is not here, or does not execute in that precision on this CPU.
    """
    require_precision(dtype)
    openvino = load_library()
    asked = {
        "INFERENCE_PRECISION_HINT": getattr(openvino.Type, PRECISIONS[dtype]),
        # By default 32: activations would be rounded to int8 beside weights that are stored in so few bits.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        **({} if threads is None else {"INFERENCE_NUM_THREADS": threads}),
    }
    core = openvino.Core()
    try:
        model = core.read_model(path)
        compiled = core.compile_model(model, DEVICE, asked)
    except RuntimeError as error:  # it raises nothing narrower
        # The last line is the reason; those before it are places in OpenVINO's own source.
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1].rstrip(".")
        raise ArtifactError(
            f"{path} cannot be loaded by openvino {openvino.__version__}: {reason}. "
            "Use target onnxruntime for this model, upgrade openvino, or export the model again."
        ) from error
    for name in ("INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE"):
        if (got := compiled.get_property(name)) != asked[name]:
            raise TargetUnavailable(
                f"openvino {openvino.__version__} compiled {path} with {name} {got}; expected {asked[name]}, for "
                f"{dtype}. Use another dtype, or target onnxruntime."
            )
    return model, compiled


class OpenVinoSession:
    """A compiled graph, with its weights in memory. Safe to share between threads: each run has a request of its own.

    Runs share the session's threads, so several at once wait for each other inside OpenVINO.
    """

    def __init__(self, path: Path, *, dtype: str = "fp32", threads: int | None = None) -> None:
        """Compile a graph; arguments as `compile_graph`.

        Raises:
            ArtifactError: as `compile_graph`, and where inputs or output have other names.
            TargetUnavailable: as `compile_graph`.
        """
        _, compiled = compile_graph(path, dtype=dtype, threads=threads)
        inputs = {port.any_name for port in compiled.inputs}
        outputs = {name for port in compiled.outputs for name in port.names}
        if not inputs >= _REQUIRED or inputs - _REQUIRED - _OPTIONAL or _OUTPUT not in outputs:
            raise ArtifactError(
                f"{path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}; expected input_ids, attention_mask "
                f"and perhaps token_type_ids, and {_OUTPUT}. Export the model again."
            )
        self._token_type_ids = "token_type_ids" in inputs
        # The compiled graph, and requests that nobody uses now: as many as there ever were runs at once.
        self._open: tuple[Any, list[Any]] | None = (compiled, [])

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim]. `token_type_ids`, if any, are zeros.

        Raises:
            InputError: the session is closed.
        """
        # Held here, so that a `close` in another thread frees nothing that is in use.
        held = self._open
        if held is None:
            raise InputError("the encoder is closed; load the artifact again to go on")
        compiled, idle = held
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._token_type_ids:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        # Copies: a view would change under its reader with the request's next run.
        vectors: npt.NDArray[np.float32] = request.infer(feeds, share_outputs=False)[_OUTPUT]
        idle.append(request)
        return vectors

    def close(self) -> None:
        """Free the graph and its weights once no run uses them. Closing twice does nothing."""
        self._open = None


def open_graph(opening: Opening) -> OpenVinoSession:
    """A session of one of an artifact's graphs, in the precision asked for.

    Raises:
        PoolfoldError: as `OpenVinoSession`.
    """
    return OpenVinoSession(opening.directory / opening.path, dtype=opening.dtype, threads=opening.threads)
