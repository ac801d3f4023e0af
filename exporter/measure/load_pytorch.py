"""In a worker: load the PyTorch reference of one strategy.

Importing this module imports torch and transformers, so that memory before the load counts them; see `worker`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel, AutoTokenizer  # noqa: F401

from exporter.measure.protocol import Embed
from exporter.model.checkpoint.read import read_spec
from exporter.model.pytorch import Reference, load_backbone
from exporter.spec.model import Source
from exporter.spec.origin import TokenizerSource, Trust
from graphs.pooling.head import Cut, cut_head
from graphs.pooling.strategy import parse_strategy


def load(
    name: str,
    folder: str,
    revision: str | None,
    allow_pickle: bool,
    trust_remote_code: bool,
    tokenizer: str,
    strategy: str,
    dimensions: int | None,
    renormalize: bool,
    threads: int,
) -> Embed:
    """The reference's `embed` for one strategy, with `threads` threads inside an operator.

    Args:
        name: of the source, as `folder` and `revision`.
        folder: where the checkpoint lies.
        revision: a commit sha, or None for a folder.
        allow_pickle: as the checkpoint was first read.
        trust_remote_code: as the checkpoint was first read.
        tokenizer: whose ids, as the checkpoint was first read.
        strategy: its name.
        dimensions: keep only so many values of each vector; None keeps all.
        renormalize: whether unit vectors have unit length again after the cut.
        threads: torch's intra-op threads.
    """
    torch.set_num_threads(threads)
    source = Source(name=name, folder=Path(folder), revision=revision)
    spec = read_spec(source, Trust(allow_pickle, trust_remote_code), TokenizerSource(tokenizer))
    reference = Reference(load_backbone(spec), cut_head(spec.head, Cut(dimensions, renormalize)))
    modes = parse_strategy(strategy)

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        vectors: npt.NDArray[np.float32] = reference.embed(input_ids, attention_mask, (modes,))[modes]
        return vectors

    return embed
