"""Run an engine of TensorRT or TensorRT-RTX on an NVIDIA GPU. Independent of texts.

Tested: the refusal of an engine on a machine without a GPU. Not run on a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError
from poolfold.manifest import Engine
from poolfold.sessions import CLOSED, Opening
from poolfold.sessions.graph_inputs import make_inputs
from poolfold.sessions.profiles import cut, split_batch
from poolfold.sessions.tensorrt.context import RuntimeCache
from poolfold.sessions.tensorrt.engine import load_engine
from poolfold.sessions.tensorrt.lane import EngineLane
from poolfold.sessions.tensorrt.lanes import Lanes
from poolfold.verify.files import OpenFile, open_file

MOST_LANES = 4
"""The most batches that run at once. Each lane allocates the engine's working memory; more lanes are not faster."""


class EngineSession:
    """An engine in a GPU's memory. Safe to share between threads: each run uses a separate stream and context."""

    def __init__(
        self,
        directory: Path,
        record: Engine,
        *,
        gpu: int,
        digest: str,
        open_file: Callable[[Path], OpenFile] = open_file,
    ) -> None:
        """Load an engine.

        Args:
            directory: the artifact.
            record: the engine's record in the manifest.
            gpu: the GPU's number.
            digest: SHA-256 of the engine's file.
            open_file: as `load_engine`.

        Raises:
            TargetUnavailable: no GPU, driver or library on this machine, or the engine does not fit them.
            ArtifactError: the engine is not what its record says.
        """
        loaded = load_engine(directory, record, gpu, open_file)
        self._profiles = record.profiles
        self._inputs = loaded.inputs
        self._dim = loaded.dim
        self._cache = RuntimeCache(loaded, digest) if record.target == "tensorrt-rtx" else None
        cache = self._cache
        self._lanes: Lanes[EngineLane] | None = Lanes(lambda: EngineLane(loaded, cache), MOST_LANES)
        # Free the memory also when the session is garbage-collected without `close`.
        weakref.finalize(self, self._lanes.close).atexit = False
        if self._cache is not None:
            # The first context compiles the kernels. Save them now, so that later processes can load them.
            with self._lanes.borrow():
                self._cache.save()

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim].

        Raises:
            InputError: the session is closed, or a row is longer than any profile allows.
            TargetUnavailable: the GPU fails, or has too little memory.
        """
        lanes = self._lanes
        if lanes is None:
            raise InputError(CLOSED)
        split = split_batch(self._profiles, *input_ids.shape)
        vectors = np.empty((len(input_ids), self._dim), dtype=np.float32)
        with lanes.borrow() as lane:
            for piece in split.pieces:
                ids, mask = cut(input_ids, attention_mask, piece)
                feeds = make_inputs(self._inputs, ids, mask)
                vectors[piece.start : piece.stop] = lane.run(split.profile, feeds)[: piece.stop - piece.start]
        return vectors

    def close(self) -> None:
        """Free the GPU's memory once no run uses it; a later `run` raises InputError. Closing twice does nothing."""
        lanes, self._lanes = self._lanes, None
        if lanes is None:
            return
        if self._cache is not None:
            self._cache.save()
            self._cache = None
        lanes.close()


def open_engine(opening: Opening) -> EngineSession:
    """A session of one of an artifact's engines.

    Raises:
        PoolfoldError: as `EngineSession`.
    """
    record = next(engine for engine in opening.manifest.engines if engine.path == opening.path)
    digest = opening.manifest.digest(opening.path)
    return EngineSession(opening.directory, record, gpu=opening.gpu, digest=digest, open_file=opening.open_file)
