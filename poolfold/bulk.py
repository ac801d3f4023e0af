"""A class that embeds batches, for engines that move data: Ray Data, Spark, Dask. A worker loads the artifact once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from poolfold.encoder import Encoder
from poolfold.load import load


class Embed:
    """A batch with a column of texts -> the same with a column of vectors.

    Made on the driver it is arguments alone; the artifact is loaded where it is first called, once a process, and with
    the threads that the worker's CPUs allow. The artifact must lie at its path there, or be a hub id.
    """

    def __init__(
        self,
        directory: str | Path,
        column: str = "text",
        output: str = "embedding",
        *,
        threads: int | None = None,
        encode: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Take what `poolfold.load` takes, and what is to be embedded.

        Args:
            directory: the artifact's, or its hub id.
            column: of the texts.
            output: of the vectors.
            threads: of a run; None for the CPUs of the Ray actor that this runs in, else as `poolfold.load`.
            encode: further arguments of `Encoder.encode`, such as `{"prompt_name": "query"}`.
            options: further arguments of `poolfold.load`.
        """
        self._arguments = {"directory": directory, "spinning": False, **options}
        self._column, self._output, self._threads, self._encode = column, output, threads, dict(encode or {})
        self._encoder: Encoder | None = None

    @property
    def encoder(self) -> Encoder:
        """The loaded artifact."""
        if self._encoder is None:
            self._encoder = load(threads=self._threads or _threads_of_actor(), **self._arguments)
        return self._encoder

    def __call__(self, batch: Any) -> Any:
        """A dict of arrays, a `pyarrow.Table` or a `pandas.DataFrame` -> the same kind, the vectors added."""
        vectors = self.encoder.encode(_values(batch[self._column]), **self._encode)
        if hasattr(batch, "append_column"):
            import pyarrow

            rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
            return batch.append_column(self._output, rows)
        if hasattr(batch, "assign"):
            return batch.assign(**{self._output: list(vectors)})
        return {**batch, self._output: vectors}

    def __getstate__(self) -> dict[str, Any]:
        """The arguments; another process loads for itself."""
        return {**vars(self), "_encoder": None}


def _values(column: Any) -> list[Any]:
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column)


def _threads_of_actor() -> int | None:
    """The CPUs that Ray gave this actor; None elsewhere."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
    return max(1, int(cpus)) if cpus else None
