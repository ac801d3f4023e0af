"""In a worker, in the peers' environment: a checkpoint in CTranslate2's format."""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.beside_graphs import pooled
from exporter.measure.protocol import Pooled


def load(path: str, threads: int) -> Pooled:
    """A folder of CTranslate2, in the precision that it was converted to."""
    library: Any = import_module("ctranslate2")
    encoder = library.Encoder(path, device="cpu", intra_threads=threads, inter_threads=1)

    def forward(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        ids = library.StorageView.from_array(np.ascontiguousarray(input_ids, np.int32))
        lengths = library.StorageView.from_array(attention_mask.sum(axis=1).astype(np.int32))
        return np.array(encoder.forward_batch(ids, lengths).last_hidden_state)

    return pooled(forward)
