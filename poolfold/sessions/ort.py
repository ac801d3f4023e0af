"""An ONNX graph in ONNX Runtime, on the CPU or on a GPU. Knows graph names and threads; no texts and no manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, InputError, TargetUnavailable, first_line
from poolfold.packing import token_positions
from poolfold.sessions.ort_providers import CPU, Provider, open_session

_REQUIRED = {"input_ids", "attention_mask"}
_OPTIONAL = {"token_type_ids", "token_positions"}
_OUTPUT = "sentence_embedding"
_LOG_ERRORS_ONLY = 3
_ON_CPU = Provider()
_SLOWER_FUSIONS = ("BiasGeluFusion", "MatmulTransposeFusion", "SkipLayerNormFusion")
"""Of ONNX Runtime's own fusions, those whose CPU kernels take longer than the operators that they replace: together 8 %
of a batch of MiniLM, and nothing measurable where a model has no such operators."""


class OnnxRuntimeSession:
    """An ONNX graph, with its weights in memory. Safe to share between threads, as ONNX Runtime's sessions are."""

    def __init__(
        self, path: Path, *, threads: int | None = None, spinning: bool = True, provider: Provider = _ON_CPU
    ) -> None:
        """Load a graph.

        Args:
            path: the .onnx file; its external data lies beside it.
            threads: threads of one run; None leaves it to ONNX Runtime, which takes the physical cores.
            spinning: whether threads busy-wait between the operators of a run. Faster, and dearer beside other work.
            provider: what it runs on.

        Raises:
            ArtifactError: ONNX Runtime cannot load the graph, or its inputs or output have other names.
            TargetUnavailable: ONNX Runtime is not installed, or lacks the provider.
        """
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError as error:
            raise TargetUnavailable(
                f"onnxruntime is not available here: {error}. Install it: pip install onnxruntime"
            ) from error

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        if provider.name == CPU:
            options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(_SLOWER_FUSIONS))
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        # By default they spin on for some 40 ms after a run, and take the cores from the next session's run.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # One block for all that a run needs took a fifth more memory than piece by piece, and no less time.
        options.enable_mem_pattern = False
        # Its errors have no base class of their own.
        errors = (
            state.EPFail,
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.InvalidProtobuf,
            state.NoModel,
            state.NoSuchFile,
            state.NotImplemented,
            state.RuntimeException,
        )
        try:
            session = (
                onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
                if provider.name == CPU
                else open_session(onnxruntime, path, options, provider)
            )
        except errors as error:
            raise ArtifactError(
                f"{path} cannot be loaded by onnxruntime {onnxruntime.__version__}: {error}. "
                "Upgrade onnxruntime, or export the model again."
            ) from error
        inputs = {value.name for value in session.get_inputs()}
        outputs = {value.name for value in session.get_outputs()}
        if not inputs >= _REQUIRED or inputs - _REQUIRED - _OPTIONAL or _OUTPUT not in outputs:
            raise ArtifactError(
                f"{path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}; expected input_ids, attention_mask "
                f"and perhaps token_type_ids and token_positions, and {_OUTPUT}. Export the model again."
            )
        self._further = inputs - _REQUIRED
        self._path, self._errors = path, errors
        self._session: Any = session

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim].

        Further inputs that the graph has are made from these: `token_type_ids` zeros, `token_positions` the places of
        the tokens.

        Raises:
            InputError: the session is closed.
            ArtifactError: ONNX Runtime loaded the graph and cannot compute it.
        """
        # Held here, so that a `close` in another thread frees nothing that is in use.
        session = self._session
        if session is None:
            raise InputError("the encoder is closed; load the artifact again to go on")
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._further:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        if "token_positions" in self._further:
            feeds["token_positions"] = token_positions(attention_mask)
        try:
            vectors: npt.NDArray[np.float32] = session.run([_OUTPUT], feeds)[0]
        except self._errors as error:
            raise ArtifactError(
                f"{self._path} cannot be run by onnxruntime on input_ids {list(input_ids.shape)}: {first_line(error)}. "
                "Upgrade onnxruntime, or take another model: its graph has parts that do not fit each other."
            ) from error
        return vectors

    def close(self) -> None:
        """Free the graph and its weights once no run uses them. Closing twice does nothing."""
        self._session = None
