"""In a worker: a peer's graph, a folded one, or the bare matrix product, in ONNX Runtime with its defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from bench.beside_graphs import feeds, pooled, product
from exporter.measure.protocol import Embed, Pooled
from poolfold.sessions.ort import OnnxRuntimeSession


def load(path: str, threads: int) -> Pooled:
    """A graph that gives `last_hidden_state`."""
    session = _session(path, threads)
    names = {value.name for value in session.get_inputs()}
    return pooled(lambda ids, mask: session.run(["last_hidden_state"], feeds(names, ids, mask))[0])


def load_folded(path: str, settings: Mapping[str, str], threads: int) -> Embed:
    """A graph that gives vectors, with further settings of the session."""
    session = _session(path, threads, settings)

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        vectors: npt.NDArray[np.float32] = session.run(None, feeds(set(), input_ids, attention_mask))[0]
        return vectors

    return embed


def load_ours(path: str, threads: int) -> Embed:
    """The same with poolfold's settings."""
    return OnnxRuntimeSession(Path(path), threads=threads).run


def load_product(path: str, hidden: int, threads: int) -> Embed:
    """The matrix products of `beside_graphs.write_graph`."""
    session = _session(path, threads)
    return product(hidden, lambda rows: session.run(None, {"rows": rows})[0])


def _session(path: str, threads: int, settings: Mapping[str, str] | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for name, value in (settings or {}).items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
