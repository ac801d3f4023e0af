"""Run an ONNX graph in OpenVINO on the CPU. Independent of texts and of the manifest.

By default OpenVINO chooses the precision: it executes an fp32 graph in bf16 where the CPU supports bf16. Where the CPU
does not support a requested precision, OpenVINO silently uses another. So the precision is requested by name, and read
back after compilation.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, InputError, OutOfMemory, TargetUnavailable, how_to_install
from poolfold.sessions import CLOSED, Opening
from poolfold.sessions.external_data import external_tensors, open_weights, with_addresses
from poolfold.sessions.graph_inputs import (
    PROMPT_STATES,
    SENTENCE_EMBEDDING,
    TOKEN_TYPE_IDS,
    behind,
    make_inputs,
    require_names,
)
from poolfold.sessions.memory import tell_out_of_memory
from poolfold.sessions.threads import default_threads
from poolfold.verify.files import OpenFile, open_file

DEVICE = "CPU"
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": ""}
"""Precisions in which a graph is executed: our name -> OpenVINO's. In int8, what is not multiplied in 8 bits is bf16
where the CPU has it, else fp32."""
INT8_GROUP = 128
"""Channels of a row of activations that share a scale where they are multiplied by int8 weights."""

_TELEMETRY = "openvino_telemetry"
_UNWRITTEN = np.uint32(0x7FC0DEAD).view(np.float32)
"""A NaN that no computation gives. On one thread, a run that finds no memory ends without an error, and leaves in place
what was there: the vectors of an earlier run."""
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
            f"target openvino is not available here: {error}. Install it: {how_to_install('openvino')}"
        ) from error


@contextmanager
def _telemetry_left_out() -> Iterator[None]:
    """Make openvino import without its telemetry package, which reports each import over the network."""
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


def require_precision(dtype: str) -> None:
    """Check that the CPU executes in a precision, before any graph is read.

    Raises:
        InputError: not one of PRECISIONS.
        TargetUnavailable: the CPU has no instructions for it, or OpenVINO is not installed.
    """
    if dtype not in PRECISIONS:
        raise InputError(
            f"dtype is {dtype!r}; expected one of {', '.join(PRECISIONS)}, in which openvino executes a graph."
        )
    openvino = load_library()
    core = openvino.Core()
    has = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    if dtype.upper() not in has:
        raise TargetUnavailable(
            f"{dtype} is not available in openvino {openvino.__version__} here: this CPU "
            f"({core.get_property(DEVICE, 'FULL_DEVICE_NAME')}) offers {', '.join(sorted(has))}; expected "
            f"{dtype.upper()} among them. Use dtype fp32."
        )


def compile_graph(
    path: Path, *, dtype: str = "fp32", threads: int | None = None, content: bytes | None = None
) -> tuple[Any, Any]:
    """Read a graph and compile it for this CPU in exactly the requested precision.

    Args:
        path: the .onnx file, fp32; its external data lies beside it.
        content: the graph, where it is not to be read from the path.
        dtype: one of PRECISIONS.
        threads: threads of one run; None for `default_threads`.

    Returns:
        The graph as read, an `openvino.Model`, and as compiled, an `openvino.CompiledModel`.

    Raises:
        ArtifactError: OpenVINO cannot read or compile the graph.
        TargetUnavailable: OpenVINO is not installed, or does not execute in that precision on this CPU.
    """
    require_precision(dtype)
    openvino = load_library()
    core = openvino.Core()
    rest = "bf16" if "BF16" in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES") else "f32"
    asked = {
        "INFERENCE_PRECISION_HINT": getattr(openvino.Type, PRECISIONS[dtype] or rest),
        # By default OpenVINO rounds activations to int8 wherever weights are stored in 8 bits or fewer.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if dtype == "int8" else 0,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads or default_threads(),
    }
    try:
        model = core.read_model(path if content is None else content)
        compiled = core.compile_model(model, DEVICE, asked)
    except (RuntimeError, MemoryError) as error:  # it raises nothing narrower
        tell_out_of_memory(error, str(path))
        raise ArtifactError(
            f"{path} cannot be loaded by openvino {openvino.__version__}: {_reason(error)}. "
            "Use target onnxruntime for this model, upgrade openvino, or export the model again."
        ) from error
    for name in ("INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE"):
        if (got := compiled.get_property(name)) != asked[name]:
            raise TargetUnavailable(
                f"openvino {openvino.__version__} compiled {path} with {name} {got}; expected {asked[name]}, for "
                f"{dtype}. Use another dtype, or target onnxruntime."
            )
    return model, compiled


def _reason(error: Exception) -> str:
    """The last line of an error; the lines before it are locations in OpenVINO's source."""
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1].rstrip(".")


class OpenVinoSession:
    """A compiled graph with its weights in memory. Safe to share between threads: each run uses a separate request.

    Concurrent runs share the session's threads, so they wait for each other inside OpenVINO.
    """

    def __init__(
        self,
        path: Path,
        *,
        dtype: str = "fp32",
        threads: int | None = None,
        open_file: Callable[[Path], OpenFile] = open_file,
    ) -> None:
        """Compile a graph; arguments as `compile_graph`, and `open_file` as `OnnxRuntimeSession`.

        Raises:
            ArtifactError: as `compile_graph`, or the inputs or the output have other names.
            TargetUnavailable: as `compile_graph`.
        """
        graph = open_file(path)
        tensors = external_tensors(memoryview(graph.data))
        files = open_weights(path, tensors, open_file)
        content = None
        # OpenVINO maps the weights itself, but refuses a link that leads out of the graph's folder. What is given in
        # memory it copies.
        by_path = all(
            file.is_mapped and file.path.resolve() == path.parent.resolve() / location
            for location, file in files.items()
        )
        if not by_path:
            data = {tensor.name: tensor.of(path, files[tensor.location]) for tensor in tensors}
            content = with_addresses(memoryview(graph.data), {name: array.ctypes.data for name, array in data.items()})
        _, compiled = compile_graph(path, dtype=dtype, threads=threads, content=content)
        for file in (graph, *files.values()):
            file.require_unchanged(there=by_path)
            file.release()
        self._path = path
        self._files = tuple(files.values()) if by_path else ()
        self._inputs = {port.any_name for port in compiled.inputs}
        outputs = {name for port in compiled.outputs for name in port.names}
        require_names(path, self._inputs, outputs, optional=(TOKEN_TYPE_IDS, PROMPT_STATES))
        self._tensor = load_library().Tensor
        self._dim = compiled.output(SENTENCE_EMBEDDING).partial_shape[1].get_length()
        self._starved, self._went_well = False, (0, 0)  # whether a run found no memory; the last shape that ran
        # The compiled graph and its idle requests.
        self._open: tuple[Any, list[Any]] | None = (compiled, [])

    def run(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        prompt_states: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim]. `token_type_ids`, if any, are zeros.

        Raises:
            InputError: the session is closed.
            ArtifactError: OpenVINO compiled the graph and cannot compute it, or the file with its weights was written
                to.
            OutOfMemory: the batch takes more than this process has.
        """
        # A local reference, so that `close` in another thread frees nothing that is in use.
        held = self._open
        if held is None:
            raise InputError(CLOSED)
        compiled, idle = held
        self._require_unchanged()
        what = f"{self._path} on input_ids {list(input_ids.shape)}"
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        try:
            try:
                vectors = self._infer(request, input_ids, attention_mask, prompt_states)
            except (RuntimeError, MemoryError):
                if not (self._starved and any(a == b for a, b in zip(input_ids.shape, self._went_well, strict=True))):
                    raise
                self._start_anew(request, prompt_states)
                vectors = self._infer(request, input_ids, attention_mask, prompt_states)
        except (RuntimeError, MemoryError) as error:
            try:
                tell_out_of_memory(error, what)
                if self._starved:  # what memory that is out has left half done fails for other reasons later
                    tell_out_of_memory(MemoryError(), what)
            except OutOfMemory:
                self._starved = True
                raise
            raise ArtifactError(
                f"{what} cannot be run by openvino: {_reason(error)}. "
                "Use target onnxruntime for this model, or export the model again."
            ) from error
        finally:
            idle.append(request)  # also one that failed: the compiled graph still refers to it
        self._went_well = input_ids.shape
        self._require_unchanged()
        return vectors

    def _infer(
        self,
        request: Any,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        prompt_states: npt.NDArray[np.float32] | None,
    ) -> npt.NDArray[np.float32]:
        """Run a request, which writes the vectors where they are returned.

        Raises:
            MemoryError: it wrote none, and said nothing.
            RuntimeError: any other failure.
        """
        feeds = behind(make_inputs(self._inputs, input_ids, attention_mask), prompt_states)
        vectors = np.full((len(input_ids), self._dim), _UNWRITTEN)
        request.set_output_tensor(self._tensor(vectors, shared_memory=True))
        request.infer(feeds, share_outputs=True)
        if (vectors.view(np.uint32) == _UNWRITTEN.view(np.uint32)).any():
            raise MemoryError
        return vectors

    def _start_anew(self, request: Any, prompt_states: npt.NDArray[np.float32] | None) -> None:
        """Run two small shapes.

        OpenVINO prepares what has another shape than in the last run that went well. A run that failed has changed a
        part of that, so that one of the same rows or length then fails, or gives nothing.
        """
        for seq in (1, 2):
            ids = np.zeros((1, seq), np.int64)
            with suppress(RuntimeError, MemoryError):
                self._infer(request, ids, ids + 1, prompt_states)

    def _require_unchanged(self) -> None:
        """Raise ArtifactError if a file whose mapping is used was written to."""
        for file in self._files:
            file.require_unchanged()

    def close(self) -> None:
        """Free the graph and its weights once no run uses them. Closing twice does nothing."""
        self._open = None


def open_graph(opening: Opening) -> OpenVinoSession:
    """A session of one of an artifact's graphs, in the precision asked for.

    Raises:
        PoolfoldError: as `OpenVinoSession`.
    """
    path = opening.directory / opening.path
    return OpenVinoSession(path, dtype=opening.dtype, threads=opening.threads, open_file=opening.open_file)
