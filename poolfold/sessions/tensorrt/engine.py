"""Load an engine from its file: check it against the machine, and refit it if it was built without weights.

Independent of batches. Not run on a GPU; tested up to the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolfold.errors import ArtifactError, TargetUnavailable
from poolfold.manifest import Engine, Range
from poolfold.sessions.external_data import external_tensors, open_weights
from poolfold.sessions.graph_inputs import ATTENTION_MASK, INPUT_IDS, SENTENCE_EMBEDDING, TOKEN_POSITIONS
from poolfold.sessions.tensorrt.checks import check_plan, find_place, how_to_build, make_runtime
from poolfold.sessions.tensorrt.gpu import Gpu, load_cuda, succeed
from poolfold.sessions.tensorrt.library import log, reason
from poolfold.verify.files import OpenFile, open_file


@dataclass(frozen=True, eq=False)
class Loaded:
    """An engine in a GPU's memory.

    record: its record in the manifest.
    trt, cuda: the library's module and `cuda.bindings.runtime`.
    runtime: must live as long as the engine.
    engine: the library's engine; safe to share between threads.
    dim: length of a vector.
    """

    path: Path
    record: Engine
    gpu: Gpu
    trt: Any
    cuda: Any
    runtime: Any
    engine: Any
    dim: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs."""
        return input_names(self.record)


def input_names(record: Engine) -> tuple[str, ...]:
    """The names of the inputs of an engine, which depend on its form."""
    return (INPUT_IDS, ATTENTION_MASK, TOKEN_POSITIONS) if record.form == "packed" else (INPUT_IDS, ATTENTION_MASK)


def load_engine(directory: Path, record: Engine, gpu: int, open_file: Callable[[Path], OpenFile] = open_file) -> Loaded:
    """Load an engine of an artifact.

    Args:
        directory: the artifact.
        record: the engine's record in its manifest.
        gpu: the GPU's number.
        open_file: opens the engine, or gives the one that was opened and checked.

    Raises:
        TargetUnavailable: no GPU, driver or library on this machine, or the engine does not fit them.
        ArtifactError: the engine is not what its record says.
    """
    path = directory / record.path
    try:
        device, trt = find_place(record, gpu)
    except TargetUnavailable as error:
        raise TargetUnavailable(f"{path} cannot run here: {error}") from error
    cuda = load_cuda()
    succeed(cuda, cuda.cudaSetDevice(device.ordinal))
    succeed(cuda, cuda.cudaFree(0))  # creates the CUDA context, without which the library loads no engine
    runtime = make_runtime(trt)
    plan = open_file(path)
    engine = deserialise(trt, runtime, path, record, bytes(plan.data))
    plan.require_unchanged()
    if record.stripped:
        _refit(trt, engine, directory / record.graph, open_file)
    return Loaded(path, record, device, trt, cuda, runtime, engine, _check(path, record, trt, engine))


def deserialise(trt: Any, runtime: Any, path: Path, record: Engine, plan: bytes) -> Any:
    """The library's engine from a file's content.

    Raises:
        TargetUnavailable: the library refuses it; the message quotes the library's reason.
    """
    why = check_plan(trt, runtime, plan)
    if why is None:
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is not None:
            return engine
        why = reason(trt)
    raise TargetUnavailable(
        f"{path} is refused by {record.target} {trt.__version__}: {why}. {how_to_build(record.target)}"
    )


def _refit(trt: Any, engine: Any, graph: Path, open_file: Callable[[Path], OpenFile]) -> None:
    """Put the graph's weights into an engine that was built without them."""
    opened = open_file(graph)
    weights = open_weights(graph, external_tensors(memoryview(opened.data)), open_file)
    refitter = trt.Refitter(engine, log(trt))
    parser = trt.OnnxParserRefitter(refitter, log(trt))
    if not parser.refit_from_file(str(graph)) or not refitter.refit_cuda_engine():
        raise ArtifactError(
            f"{graph} does not give the weights that the engine built from it lacks: {reason(trt)}. "
            "Build the engine again."
        )
    for file in (opened, *weights.values()):
        file.require_unchanged(there=True)  # the library read it by its name


def _check(path: Path, record: Engine, trt: Any, engine: Any) -> int:
    """Compare the engine's tensors and profiles with the record; returns the length of a vector."""
    tensors = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    inputs = {name for name in tensors if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
    expected = input_names(record)
    types = {name: engine.get_tensor_dtype(name) for name in sorted(tensors)}
    right = {**dict.fromkeys(expected, trt.DataType.INT64), SENTENCE_EMBEDDING: trt.DataType.FLOAT}
    if inputs != set(expected) or types != right:
        shown = ", ".join(f"{name} {dtype.name}" for name, dtype in types.items())
        raise ArtifactError(
            f"{path} has {shown}; expected int64 {', '.join(expected)} and float32 {SENTENCE_EMBEDDING}. "
            "Build the engine again."
        )
    shapes = [
        tuple(tuple(shape) for shape in engine.get_tensor_profile_shape(INPUT_IDS, index))
        for index in range(engine.num_optimization_profiles)
    ]
    if shapes != [_shapes(profile.batch, profile.seq_len) for profile in record.profiles]:
        raise ArtifactError(
            f"{path} takes input_ids of {shapes}; its manifest says {list(record.profiles)}. Build the engine again."
        )
    return int(tuple(engine.get_tensor_shape(SENTENCE_EMBEDDING))[-1])


def _shapes(batch: Range, seq: Range) -> tuple[tuple[int, int], ...]:
    return (batch.min, seq.min), (batch.opt, seq.opt), (batch.max, seq.max)
