"""In a worker: a peer's graph, or the bare matrix product, in ONNX Runtime with its defaults (spinning included)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from bench.peers.load_product import Product, product
from bench.peers.pooling import POOLS
from exporter.measure.protocol import Pooled


def load(path: str, threads: int) -> Pooled:
    """A graph that gives `last_hidden_state`."""
    session = _session(path, threads)
    names = {value.name for value in session.get_inputs()}

    def forward(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in names:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        hidden: npt.NDArray[np.float32] = session.run(["last_hidden_state"], feeds)[0]
        return hidden

    return Pooled(forward, POOLS)


def load_product(path: str, hidden: int, threads: int) -> Product:
    """The matrix products of `load_product.write_graph`."""
    session = _session(path, threads)
    return product(hidden, lambda rows: session.run(None, {"rows": rows})[0])


def _session(path: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
