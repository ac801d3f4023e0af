"""A lane: the stream, buffers and contexts with which one thread runs batches on an engine, one after another.

Tested on a fake GPU. Not run on a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poolfold.errors import TargetUnavailable
from poolfold.sessions.graph_inputs import SENTENCE_EMBEDDING, TOKEN_POSITIONS
from poolfold.sessions.tensorrt.capture_policy import CapturePolicy
from poolfold.sessions.tensorrt.context import RuntimeCache, make_context, prepare
from poolfold.sessions.tensorrt.device_memory import Buffer, Scratch, Stream
from poolfold.sessions.tensorrt.engine import Loaded
from poolfold.sessions.tensorrt.library import reason

_MOST_GRAPHS = 32
"""The most captured graphs of a lane. Each has a context of its own, of some megabytes."""


class _Shape(NamedTuple):
    """The profile and the shapes of the inputs for which a graph was captured."""

    profile: int
    inputs: tuple[tuple[str, tuple[int, ...]], ...]


class _Captured(NamedTuple):
    """A captured graph and its context, which must live as long as the graph and must not change."""

    graph: Any
    context: Any


class EngineLane:
    """Runs batches whose shapes fit a profile. For one thread at a time."""

    def __init__(self, loaded: Loaded, cache: RuntimeCache | None) -> None:
        """Create a stream and a context; arguments as `make_context`.

        Raises:
            TargetUnavailable: the GPU has too little memory, or fails.
        """
        self._loaded = loaded
        self._cache = cache
        self._stream = Stream(loaded.cuda, loaded.gpu.ordinal)
        self._buffers = {name: Buffer(loaded.cuda) for name in (*loaded.inputs, SENTENCE_EMBEDDING)}
        self._scratch: Scratch | None = None
        self._graphs: dict[_Shape, _Captured] = {}
        # Packed inputs have as many values as the batch has tokens, so their shapes hardly ever occur twice.
        captures = cache is None and TOKEN_POSITIONS not in loaded.inputs
        self._policy = CapturePolicy(_MOST_GRAPHS if captures else 0)
        try:
            if cache is None:
                self._scratch = Scratch(loaded.cuda, loaded.engine.device_memory_size_v2)
            self._context: Any = self._make_context()
        except BaseException:
            self.free()
            raise

    def _make_context(self) -> Any:
        memory = None if self._scratch is None else (self._scratch.address, self._scratch.size)
        return make_context(self._loaded, memory, self._cache)

    def run(self, profile: int, feeds: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Embed a batch.

        Args:
            profile: the index of a profile that the shapes fit.
            feeds: every input of the engine, int64.

        Returns:
            float32 [batch, dim].

        Raises:
            TargetUnavailable: the GPU fails, or has too little memory.
            ArtifactError: the engine refuses the shapes.
        """
        self._stream.enter()
        rows = (len(next(iter(feeds.values()))), self._loaded.dim)
        sizes = {**{name: values.nbytes for name, values in feeds.items()}, SENTENCE_EMBEDDING: rows[0] * rows[1] * 4}
        moved = [self._buffers[name].require(size) for name, size in sizes.items()]
        if any(moved):
            self._discard_graphs()  # they contain the old addresses
        for name, values in feeds.items():
            self._buffers[name].upload(values, self._stream.handle)
        self._enqueue(_Shape(profile, tuple((name, values.shape) for name, values in feeds.items())))
        vectors = self._buffers[SENTENCE_EMBEDDING].download(rows, self._stream.handle)
        self._stream.wait()
        return vectors()

    def _enqueue(self, shape: _Shape) -> None:
        """Queue a run on the stream: as a captured graph if there is one for this shape."""
        captured = self._graphs.get(shape)
        if captured is not None:
            self._stream.launch(captured.graph)
        elif self._policy.note(shape):
            self._capture(shape)
        else:
            self._prepare(self._context, shape)
            self._execute(self._context)

    def _capture(self, shape: _Shape) -> None:
        """Run once without a graph, so that the library's first-run work is done, then capture a graph."""
        context = self._make_context()
        self._prepare(context, shape)
        self._execute(context)
        self._stream.wait()
        graph = self._stream.capture(lambda: bool(context.execute_async_v3(self._stream.handle)))
        if graph is None:
            self._policy.stop()
        else:
            self._graphs[shape] = _Captured(graph, context)

    def _prepare(self, context: Any, shape: _Shape) -> None:
        addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        prepare(self._loaded, context, shape.profile, dict(shape.inputs), addresses, self._stream.handle)

    def _execute(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream.handle):
            raise TargetUnavailable(
                f"{self._loaded.path} failed on {self._loaded.gpu.name}: {reason(self._loaded.trt)}. "
                "Use target onnxruntime if it fails again."
            )

    def _discard_graphs(self) -> None:
        for captured in self._graphs.values():
            self._stream.discard(captured.graph)
        self._graphs.clear()

    def free(self) -> None:
        """Free the GPU's memory."""
        self._stream.settle()
        self._discard_graphs()
        self._context = None  # before its working memory
        for buffer in self._buffers.values():
            buffer.free()
        if self._scratch is not None:
            self._scratch.free()
        self._stream.free()
