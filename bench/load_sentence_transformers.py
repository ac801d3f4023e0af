"""In a worker: sentence-transformers on token ids, as all systems get them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from exporter.measure.protocol import Pooled


def load(folder: str, threads: int) -> Pooled:
    """What `encode` runs on a batch behind its tokeniser: the model's modules on features, on the CPU.

    The modules behind the pooling are the checkpoint's own; the pooling is that of the strategy.
    """
    torch.set_num_threads(threads)
    modules: list[Any] = list(SentenceTransformer(folder, device="cpu", local_files_only=True).eval())
    transformer, _, *behind = modules

    def forward(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> dict[str, Any]:
        features = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        with torch.inference_mode():
            return dict(transformer(features))

    def pool(mode: str) -> Callable[[dict[str, Any], npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
        after = [Pooling(transformer.get_embedding_dimension(), mode), *behind]

        def run(features: dict[str, Any], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            out = dict(features)
            with torch.inference_mode():
                for module in after:
                    out = module(out)
                vectors: npt.NDArray[np.float32] = out["sentence_embedding"].numpy()
                return vectors

        return run

    return Pooled(forward, {mode: pool(mode) for mode in ("cls", "mean")})
