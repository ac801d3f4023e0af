"""An engine of TensorRT or TensorRT-RTX on a GPU, without a framework. Knows engines and GPUs; no texts.

What can be refused before the GPU is touched is: another library, another GPU, a shape that no profile takes. Loading
and running were not run: they need a GPU. A test holds every name of the library that is used here against its
bindings.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, InputError, TargetUnavailable
from poolfold.manifest import Engine
from poolfold.packing import token_positions
from poolfold.sessions import trt_library
from poolfold.sessions.engine_fit import why_it_does_not_fit
from poolfold.sessions.engine_lane import Lane
from poolfold.sessions.gpu import Gpu, find_gpu, load_cuda, succeed
from poolfold.sessions.profile_choice import Piece, pieces
from poolfold.sessions.runtime_cache import RuntimeCache
from poolfold.sessions.trt_library import Library

_MOST_LANES = 8
"""Batches at once: more would wait for the GPU, and each holds buffers of its own."""


def require_fit(engine: Engine, path: Path, ordinal: int) -> tuple[Library, Gpu]:
    """The library and the GPU that an engine can run with.

    Raises:
        TargetUnavailable: the library or the GPU is not here, or is another than the engine needs.
    """
    library = trt_library.load(engine.target)
    try:
        gpu = find_gpu(ordinal)
    except TargetUnavailable as error:
        raise TargetUnavailable(
            f"{path} needs an NVIDIA GPU: {error} Load it on a machine that has one, or use target onnxruntime."
        ) from None
    reason = why_it_does_not_fit(engine, library.version, gpu)
    if reason is not None:
        raise TargetUnavailable(f"{path} does not run here: {reason}. {rebuild(engine)}")
    return library, gpu


def rebuild(engine: Engine) -> str:
    """What to do about an engine that does not run here."""
    return f"Build one for this machine: poolfold build DIR --target {engine.target}; or use target onnxruntime."


class EngineSession:
    """An engine on a GPU. Safe to share between threads: each run has a context of its own."""

    def __init__(self, path: Path, engine: Engine, graph: Path, *, dim: int, gpu: int = 0) -> None:
        """Load an engine.

        Args:
            path: the engine's file.
            engine: the manifest's entry.
            graph: the graph that it was built from, for an engine without weights.
            dim: values of a vector.
            gpu: the GPU's number.

        Raises:
            TargetUnavailable: it cannot run on this machine; says why, and how to build one that can.
            ArtifactError: the file is no engine that the library can load.
        """
        library, self._gpu = require_fit(engine, path, gpu)
        self._cuda = load_cuda()
        self._engine, self._dim = engine, dim
        succeed(self._cuda, self._cuda.cudaSetDevice(gpu))
        runtime = library.trt.Runtime(trt_library.log(library))
        content = path.read_bytes()
        if library.is_rtx:
            _require_valid(library, runtime, content, engine, path)
        cuda_engine = runtime.deserialize_cuda_engine(content)
        if cuda_engine is None:
            raise ArtifactError(f"{path} cannot be loaded by {library.title}: {trt_library.errors(library)}.")
        if engine.stripped:
            _refit(library, cuda_engine, graph)
        self._library, self._runtime, self._cuda_engine = library, runtime, cuda_engine
        self._cache = RuntimeCache(library, cuda_engine, engine, self._gpu) if library.is_rtx else None
        self._idle: list[Lane] = []
        self._lanes = 0
        self._changed = threading.Condition()
        self._closed = False

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim].

        Raises:
            InputError: the session is closed, or the texts are longer than every profile takes.
            ArtifactError, TargetUnavailable: the engine or the GPU fails.
        """
        parts = pieces(self._engine.profiles, *input_ids.shape)
        vectors = np.empty((len(input_ids), self._dim), dtype=np.float32)
        # Which GPU is current is each thread's own affair, so it is said before a lane is opened too.
        succeed(self._cuda, self._cuda.cudaSetDevice(self._gpu.ordinal))
        with self._lane() as lane:
            for piece in parts:
                inputs = fill(piece, input_ids, attention_mask, packed=self._engine.form == "packed")
                vectors[piece.start : piece.stop] = lane.run(piece.profile, inputs)[: piece.stop - piece.start]
        return vectors

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        """A lane for one run: one that is idle, a new one, or the next that another run gives back."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._lanes < _MOST_LANES)
            if self._closed:
                raise InputError("the encoder is closed; load the artifact again to go on")
            lane = self._idle.pop() if self._idle else self._open_lane()
        try:
            yield lane
        finally:
            with self._changed:
                if self._closed:
                    lane.close()
                else:
                    self._idle.append(lane)
                self._changed.notify()

    def _open_lane(self) -> Lane:
        context = self._cuda_engine.create_execution_context() if self._cache is None else self._cache.create_context()
        if context is None:
            raise TargetUnavailable(
                f"{self._library.title} cannot make a context on {self._gpu.name}: {trt_library.errors(self._library)}."
            )
        # TensorRT-RTX captures by itself. The packed form's shapes hardly ever come back.
        capture = not self._library.is_rtx and self._engine.form != "packed"
        lane = Lane(self._cuda, context, self._dim, capture=capture)
        self._lanes += 1
        return lane

    def close(self) -> None:
        """Free the engine, once no run uses it. Closing twice does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if self._cache is not None:
                self._cache.save()
            while self._idle:
                self._idle.pop().close()
            self._changed.notify_all()


def fill(
    piece: Piece, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], *, packed: bool
) -> dict[str, npt.NDArray[np.int64]]:
    """The engine's inputs for a piece of a batch.

    Missing tokens are padding, on the right; missing rows repeat the first one, since a row of padding alone has no
    vector.
    """
    rows, tokens = input_ids[piece.start : piece.stop], attention_mask[piece.start : piece.stop]
    missing = (0, piece.rows - len(rows)), (0, piece.tokens - rows.shape[1])
    inputs = {}
    for name, values in (("input_ids", rows), ("attention_mask", tokens)):
        wide = np.pad(values, ((0, 0), missing[1]))
        inputs[name] = np.concatenate([wide, np.repeat(wide[:1], missing[0][1], axis=0)])
    if packed:
        inputs["token_positions"] = token_positions(inputs["attention_mask"])
    return inputs


def _require_valid(library: Library, runtime: Any, content: bytes, engine: Engine, path: Path) -> None:
    """Ask TensorRT-RTX before it loads an engine."""
    trt = library.trt
    validity, reasons = runtime.get_engine_validity(content)
    if validity != trt.EngineValidity.INVALID:
        return
    known = trt.EngineInvalidityDiagnostics.__members__
    named = [name for name, member in known.items() if int(reasons) & int(member)]
    raise TargetUnavailable(
        f"{path} does not run here: {library.title} calls it invalid ({', '.join(named) or 'without a reason'}; "
        f"{trt_library.errors(library)}). {rebuild(engine)}"
    )


def _refit(library: Library, cuda_engine: Any, graph: Path) -> None:
    """Give an engine the weights of the graph that it was built from."""
    trt = library.trt
    refitter = trt.Refitter(cuda_engine, trt_library.log(library))
    onnx_refitter = trt.OnnxParserRefitter(refitter, trt_library.log(library))
    if not onnx_refitter.refit_from_file(str(graph)) or not refitter.refit_cuda_engine():
        raise ArtifactError(f"{library.title} cannot take the weights from {graph}: {trt_library.errors(library)}.")
