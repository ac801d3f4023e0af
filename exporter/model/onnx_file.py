"""The reference of an ONNX file: ONNX Runtime on the file as it is, pooling and head in numpy.

What its users have today, and what every artifact made from it is judged by. Knows no PyTorch and no pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, POSITION_IDS, TOKEN_TYPE_IDS
from graphs.pooling.head import Head, apply_head
from graphs.pooling.strategy import Strategy, pool
from poolfold.errors import CheckpointError, first_line
from poolfold.sessions.threads import default_threads

_LOG_NOTHING = 4
"""What fails is raised too."""
_DTYPES: Mapping[str, npt.DTypeLike] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class GraphReference:
    """An ONNX file in ONNX Runtime on the CPU; pooling and head follow in numpy."""

    def __init__(self, path: Path, hidden: str, head: Head, *, width: int, threads: int | None = None) -> None:
        """Load the file.

        Args:
            path: the file.
            hidden: its output with the token vectors.
            head: what follows the pooling.
            width: how many values a token vector must have.
            threads: of the session; None for `default_threads`.

        Raises:
            CheckpointError: ONNX Runtime cannot load it.
        """
        self.name = path.name
        self.described = f"ONNX Runtime on {path.name} as it is, pooled in numpy"
        self._path, self._hidden, self._head, self._width = path, hidden, head, width
        options = ort.SessionOptions()
        options.log_severity_level = _LOG_NOTHING
        options.intra_op_num_threads = threads or default_threads()
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no base class of their own
            raise CheckpointError(
                f"{path} cannot be loaded by onnxruntime {ort.__version__}: {first_line(error)}. Export it again."
            ) from error
        self._dtypes = {value.name: _DTYPES[value.type] for value in self._session.get_inputs()}

    def embed(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        strategies: Sequence[Strategy],
    ) -> dict[Strategy, npt.NDArray[np.float32]]:
        """Embed a batch with every strategy; the graph runs once.

        Args:
            input_ids: int64 [batch, seq].
            attention_mask: int64 [batch, seq], 2 on tokens that the graph sees and the pooling leaves out.
            strategies: what to return.

        Returns:
            float32 [batch, dim] by strategy.

        Raises:
            CheckpointError: the graph fails on this batch, or gives something other than token vectors.
        """
        given = {
            INPUT_IDS: input_ids,
            ATTENTION_MASK: np.minimum(attention_mask, 1),
            TOKEN_TYPE_IDS: np.zeros_like(input_ids),
            POSITION_IDS: np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape),
        }
        feeds = {name: given[name].astype(dtype) for name, dtype in self._dtypes.items()}
        try:
            (hidden,) = self._session.run([self._hidden], feeds)
        except Exception as error:
            raise CheckpointError(
                f"{self._path} fails in onnxruntime {ort.__version__} on ids {list(input_ids.shape)}: "
                f"{first_line(error)}. Expected a graph that takes batches of any size; export it with dynamic "
                "batch and sequence axes."
            ) from error
        expected = (*input_ids.shape, self._width)
        if hidden.shape != expected:
            raise CheckpointError(
                f"{self._path} gives {self._hidden} {list(hidden.shape)} for ids "
                f"{list(input_ids.shape)}; expected {list(expected)}. config.json belongs to another model."
            )
        return {strategy: apply_head(pool(hidden, attention_mask, strategy), self._head) for strategy in strategies}
