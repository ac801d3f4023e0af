"""Run an ONNX graph in ONNX Runtime, on the CPU or an NVIDIA GPU. Independent of texts and of the manifest."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, InputError, OutOfMemory, PoolfoldError, TargetUnavailable, first_line
from poolfold.manifest import USUAL_RUN_MEMORY, RunMemory
from poolfold.sessions import CLOSED, Opening
from poolfold.sessions.external_data import ExternalTensor, external_tensors, open_weights
from poolfold.sessions.graph_inputs import (
    LAST_HIDDEN_STATE,
    PROMPT_STATES,
    SENTENCE_EMBEDDING,
    TOKEN_POSITIONS,
    TOKEN_TYPE_IDS,
    behind,
    make_inputs,
    require_names,
)
from poolfold.sessions.int8_products import CONFIG, exact_products
from poolfold.sessions.memory import tell_out_of_memory
from poolfold.sessions.ort_providers import CPU, Provider, add_provider, choose_profile, require_used
from poolfold.sessions.profiles import cut, split_batch
from poolfold.sessions.threads import default_threads
from poolfold.sessions.user_cache import cache_path
from poolfold.verify.files import OpenFile, open_file

_LOG_ERRORS_ONLY = 3
_LOG_NO_ERRORS = 4
"""Of a run: they are raised."""
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "uint16",
}
"""ONNX's number of a dtype -> numpy's, or the one that holds its bits (16: bfloat16). Strings and the others that numpy
lacks are left out."""
_SLOWER_FUSIONS = ("BiasGeluFusion", "MatmulTransposeFusion", "SkipLayerNormFusion")
"""Fusions of ONNX Runtime whose CPU kernels take longer than the operators that they replace: by 5 to 11 % of a full
batch of MiniLM (bench/session_options.py). They are disabled; a model without these operators is not affected."""

_LARGE = 2**28
"""A run that takes so many bytes gives them back. At MiniLM's sizes that costs 1 to 8 % of full batches, and 12 % of
one row of 2048 tokens; without an arena, these took 20 and 57 % more."""


class OnnxRuntimeSession:
    """An ONNX graph with its weights in memory. Safe to share between threads, as ONNX Runtime's sessions are."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        spinning: bool = True,
        provider: Provider | None = None,
        run_memory: RunMemory = USUAL_RUN_MEMORY,
        open_file: Callable[[Path], OpenFile] = open_file,
    ) -> None:
        """Load a graph.

        Args:
            path: the .onnx file; its external data lies beside it.
            threads: threads of one run; None for `default_threads`.
            spinning: whether threads busy-wait between the operators of a run: faster, but takes CPU time from others.
            provider: the execution provider; None for the CPU.
            run_memory: what a run of the graph takes.
            open_file: opens the graph and the files with its weights, or gives those that were opened and checked.

        Raises:
            ArtifactError: ONNX Runtime cannot load the graph, or its inputs or output have other names.
            TargetUnavailable: ONNX Runtime is not installed, does not compute the graph with the provider, or finds too
                little memory.
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
        options.intra_op_num_threads = threads or default_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        options.add_session_config_entry(CONFIG, exact_products())
        # What is rounded and widened again is computed as it is written: ONNX Runtime otherwise makes uint8 of int8,
        # and fails where columns have scales of their own.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # By default threads busy-wait for about 40 ms after a run, which slows the next run of another session.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if provider is None:
            options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(_SLOWER_FUSIONS))
            # Measured: allocating the memory of a run as one block took a fifth more memory and no less time.
            options.enable_mem_pattern = False
            providers: list[Any] = ["CPUExecutionProvider"]
        else:
            providers = add_provider(onnxruntime, options, provider)
        graph = open_file(path)
        tensors = external_tensors(memoryview(graph.data))
        files = open_weights(path, tensors, open_file)
        # A GPU's provider reads the weights by itself, from the path; on the CPU they are used where they are mapped.
        on_cpu = provider is None
        source = bytes(graph.data) if on_cpu else path
        weights = _add_weights(onnxruntime, options, path, tensors, files) if on_cpu else []
        # ONNX Runtime's errors have no common base class.
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
            # With enable_fallback, a batch on which the provider fails would run again on the CPU.
            session = onnxruntime.InferenceSession(source, options, providers=providers, enable_fallback=0)
        except (*errors, MemoryError) as error:
            tell_out_of_memory(error, str(path))
            if provider is not None:
                raise TargetUnavailable(
                    f"{path} cannot be computed by onnxruntime {onnxruntime.__version__} with provider "
                    f"{provider.name}: {first_line(error)}. Use provider cpu."
                ) from error
            raise ArtifactError(
                f"{path} cannot be loaded by onnxruntime {onnxruntime.__version__}: {error}. "
                "Upgrade onnxruntime, or export the model again."
            ) from error
        for file in (graph, *files.values()):
            file.require_unchanged(there=not on_cpu)
            file.release()
        if provider is not None:
            require_used(onnxruntime, session, provider, path)
        self._inputs = {value.name for value in session.get_inputs()}
        outputs = {value.name for value in session.get_outputs()}
        require_names(path, self._inputs, outputs, optional=(TOKEN_TYPE_IDS, TOKEN_POSITIONS, PROMPT_STATES))
        self._path, self._errors = path, (*errors, MemoryError)
        self._run_memory = run_memory
        self._keep, self._give_back = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        for run_options in (self._keep, self._give_back):
            run_options.log_severity_level = _LOG_NO_ERRORS
        # ONNX Runtime otherwise keeps what a run took for the next one, which may not fit into it.
        self._give_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        # TensorRT would build again, for minutes, for a shape outside its profile.
        self._profiles = () if provider is None or provider.name == "cuda" else (provider.profile,)
        self._on_gpu = provider is not None
        self._files = tuple(file for file in files.values() if file.is_mapped and on_cpu)
        # The weights must live as long as a run that uses them.
        self._open: tuple[Any, object] | None = (session, weights)

    def run(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        prompt_states: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim].

        Other inputs of the graph are computed from these (`make_inputs`). `prompt_states` is for the prompted form.

        Raises:
            InputError: the session is closed, or a row is longer than TensorRT's profile allows.
            ArtifactError: ONNX Runtime loaded the graph and cannot compute it, or the file with its weights was
                written to.
            TargetUnavailable: the provider's GPU fails.
            OutOfMemory: the batch takes more than this process, or the GPU, has.
        """
        # A local reference, so that `close` in another thread frees nothing that is in use.
        held = self._open
        if held is None:
            raise InputError(CLOSED)
        session = held[0]
        if not self._profiles:
            with suppress(OutOfMemory):
                return self._run(session, input_ids, attention_mask, prompt_states)
            # What the arena kept of earlier runs may be what this one lacks; a run of one token gives it back.
            with suppress(PoolfoldError):
                one = np.ones((1, 1), np.int64)
                self._run(session, one - 1, one, prompt_states, give_back=True)
            return self._run(session, input_ids, attention_mask, prompt_states)
        pieces = split_batch(self._profiles, *input_ids.shape).pieces
        parts = [self._run(session, *cut(input_ids, attention_mask, p))[: p.stop - p.start] for p in pieces]
        return np.concatenate(parts)

    def _run(
        self,
        session: Any,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        prompt_states: npt.NDArray[np.float32] | None = None,
        *,
        give_back: bool = False,
        output: str = SENTENCE_EMBEDDING,
    ) -> npt.NDArray[np.float32]:
        large = give_back or (not self._on_gpu and self._run_memory.bytes_of(*input_ids.shape) >= _LARGE)
        # Before: reading behind the end of a file that was cut kills the process. After: no vector of other weights.
        self._require_unchanged()
        try:
            feeds = behind(make_inputs(self._inputs, input_ids, attention_mask), prompt_states)
            options = self._give_back if large else self._keep
            vectors: npt.NDArray[np.float32] = session.run([output], feeds, options)[0]
        except self._errors as error:
            tell_out_of_memory(error, f"{self._path} on input_ids {list(input_ids.shape)}")
            if self._on_gpu:
                raise TargetUnavailable(
                    f"{self._path} failed on input_ids {list(input_ids.shape)}: {first_line(error)}. "
                    "Use smaller batches, or provider cpu."
                ) from error
            raise ArtifactError(
                f"{self._path} cannot be run by onnxruntime on input_ids {list(input_ids.shape)}: {first_line(error)}. "
                "Upgrade onnxruntime, or take another model: its graph has parts that do not fit each other."
            ) from error
        self._require_unchanged()
        return vectors

    def token_vectors(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """The vectors of the tokens of a batch, of a graph that gives them: float32 [batch, seq, hidden].

        Raises:
            PoolfoldError: as `run`.
        """
        held = self._open
        if held is None:
            raise InputError(CLOSED)
        return self._run(held[0], input_ids, attention_mask, output=LAST_HIDDEN_STATE)

    def _require_unchanged(self) -> None:
        """Raise ArtifactError if a file whose mapping is used was written to."""
        for file in self._files:
            file.require_unchanged()

    def close(self) -> None:
        """Free the graph and its weights once no run uses them. Closing twice does nothing."""
        self._open = None


def _add_weights(
    ort: Any, options: Any, path: Path, tensors: tuple[ExternalTensor, ...], files: dict[str, OpenFile]
) -> list[Any]:
    """Give a session its external weights where they lie in memory, and return what must live as long as it.

    Args:
        ort: the module `onnxruntime`.
        options: the session's options.
        path: the graph, for messages.
        tensors: its external tensors.
        files: the open files, by location.
    """
    values: dict[str, Any] = {}
    for tensor in tensors:
        content = tensor.of(path, files[tensor.location])
        if tensor.dtype not in _DTYPES:  # numpy has no such dtype, so that ONNX Runtime must read, and copy, the file
            names, contents = list(files), [np.frombuffer(file.data, np.uint8) for file in files.values()]
            options.add_external_initializers_from_files_in_memory(names, contents, [c.size for c in contents])
            return contents
        dtype = np.dtype(_DTYPES[tensor.dtype])
        if content.size != math.prod(tensor.dims) * dtype.itemsize:
            raise ArtifactError(
                f"{path} gives the tensor {tensor.name!r} {content.size} bytes; expected {dtype} {list(tensor.dims)}. "
                "Export the model again."
            )
        array = content.view(dtype).reshape(tensor.dims)
        values[tensor.name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, tensor.dtype)
    options.add_external_initializers(list(values), list(values.values()))
    for name, value in values.items():
        options.add_initializer(name, value)  # the session then uses the memory itself, and not a copy
    return list(values.values())


def open_graph(opening: Opening) -> OnnxRuntimeSession:
    """A session of one of an artifact's graphs.

    Raises:
        PoolfoldError: as `OnnxRuntimeSession`.
    """
    path = opening.directory / opening.path
    provider = None if opening.provider == CPU else _provider(opening)
    return OnnxRuntimeSession(
        path,
        threads=opening.threads,
        spinning=opening.spinning,
        provider=provider,
        run_memory=opening.manifest.run_memory(opening.path),
        open_file=opening.open_file,
    )


def _provider(opening: Opening) -> Provider:
    """What ONNX Runtime is to compute the graph with."""
    manifest, graph = opening.manifest, opening.manifest.graph_at(opening.path)
    # Caches by content: ONNX Runtime takes graphs of one file name and structure for the same, whatever their weights.
    digest = manifest.digest(opening.path, graph.weights if graph else None)
    built = [engine for engine in manifest.engines if graph and engine.graph == graph.path]
    return Provider(
        opening.provider,
        opening.gpu,
        inputs=graph.inputs if graph else (),
        profile=choose_profile([p for engine in built for p in engine.profiles], manifest.model.text.max_seq_length),
        cache=cache_path("onnxruntime", opening.provider, digest[:16]),
    )
