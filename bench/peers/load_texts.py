"""In a worker: texts to vectors, tokenising included, through our `encode` and through sentence-transformers'.

The batch that the worker is sent only tells how many rows to expect: the texts came with the load.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import poolfold
from exporter.measure.protocol import Embed


def load_ours(directory: str, strategy: str, target: str, dtype: str, texts: Sequence[str], threads: int) -> Embed:
    """`encode` of our artifact; arguments as `poolfold.load`, and the texts, in one batch."""
    encoder = poolfold.load(Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads)

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return encoder.encode(texts, batch_size=len(texts))

    return embed


def load_sentence_transformers(folder: str, strategy: str, texts: Sequence[str], threads: int) -> Embed:
    """`encode` of sentence-transformers, with the strategy's pooling in the place of the checkpoint's."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.set_num_threads(threads)
    model: Any = SentenceTransformer(folder, device="cpu", local_files_only=True)
    model[1] = Pooling(model[0].get_embedding_dimension(), strategy)

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        vectors: npt.NDArray[np.float32] = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False)
        return vectors

    return embed
