"""In a worker: texts to vectors, tokenising included, by our `encode`, sentence-transformers' and fastembed's.

The batch that the worker is sent only tells how many rows to expect: the texts came with the load. Each library is
imported with its load, since fastembed lives in an environment without the others.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.measure import worker
from exporter.measure.protocol import Embed

Vectors = npt.NDArray[np.float32]


def load_ours(
    directory: str, strategy: str, target: str, dtype: str, texts: Sequence[str], batch_size: int, threads: int
) -> Embed:
    """`encode` of our artifact; arguments as `poolfold.load`."""
    import poolfold

    encoder = poolfold.load(Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads)
    return _whatever_the_ids(lambda: encoder.encode(texts, batch_size=batch_size))


def load_sentence_transformers(
    folder: str, strategy: str, texts: Sequence[str], batch_size: int, threads: int
) -> Embed:
    """`encode` of sentence-transformers, with the strategy's pooling in the place of the checkpoint's."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.set_num_threads(threads)
    model: Any = SentenceTransformer(folder, device="cpu", local_files_only=True)
    model[1] = Pooling(model[0].get_embedding_dimension(), strategy)
    return _whatever_the_ids(lambda: model.encode(list(texts), batch_size=batch_size, show_progress_bar=False))


def load_fastembed(folder: str, graph: str, dim: int, texts: Sequence[str], batch_size: int, threads: int) -> Embed:
    """`embed` of fastembed on a graph of token vectors, which it pools by their mean and scales to unit length."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "local/all-MiniLM-L6-v2"
    # It asks for a source, and does not look there where the model's folder is given.
    source = ModelSource(hf=name)
    TextEmbedding.add_custom_model(name, PoolingType.MEAN, True, source, dim=dim, model_file=graph)
    model = TextEmbedding(name, specific_model_path=folder, threads=threads, cuda=False)
    return _whatever_the_ids(lambda: np.stack(list(model.embed(list(texts), batch_size=batch_size))))


def vectors(function: str, arguments: Mapping[str, Any], threads: int) -> Vectors:
    """Load a system of this module and have its vectors, float32 [texts, dim]."""
    _, system = worker.load(function, arguments, threads)
    rows = np.ones((len(arguments["texts"]), 1), np.int64)
    embedded: Vectors = system.forward(rows, rows)
    return embedded


def _whatever_the_ids(encode: Callable[[], Vectors]) -> Embed:
    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> Vectors:
        return encode()

    return embed
