"""In a worker: the checkpoint in PyTorch on a device, pooled and normalised there, eager or through torch.compile.

Each call copies the ids to the device and the vectors back; the second copy waits for the device, so that a call that
has returned is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize
from transformers import AutoModel

from exporter.host.quiet import quiet_transformers
from exporter.measure.protocol import Embed

_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def load(folder: str, strategy: str, dtype: str, device: str, compiled: bool, threads: int) -> Embed:
    """The model with one strategy's pooling; ids of a batch in, float32 vectors of unit length out.

    Args:
        folder: of the transformer.
        strategy: `cls` or `mean`; padding lies on the right.
        dtype: of weights and activations, `fp16` or `fp32`; fp32 products do without TF32, as is the default.
        device: `cuda` or `cpu`.
        compiled: run model and pooling as one function through torch.compile, default mode, dynamic shapes.
        threads: torch's intra-op threads.
    """
    torch.set_num_threads(threads)
    with quiet_transformers():
        model = AutoModel.from_pretrained(
            folder, dtype=_DTYPES[dtype], attn_implementation="sdpa", add_pooling_layer=False, local_files_only=True
        )
    model.to(device).eval().requires_grad_(False)
    pool = _POOLS[strategy]

    def encode(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return normalize(pool(hidden, attention_mask).float(), dim=-1)

    call: Any = torch.compile(encode, dynamic=True) if compiled else encode

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            ids, mask = (torch.from_numpy(array).to(device) for array in (input_ids, attention_mask))
            vectors: npt.NDArray[np.float32] = call(ids, mask).cpu().numpy()
            return vectors

    return embed


def _cls(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    return hidden[:, 0]


def _mean(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """One matrix product, whose sums are taken in fp32 on a GPU whatever the inputs are."""
    mask = attention_mask.unsqueeze(1).to(hidden.dtype)
    return (mask @ hidden).squeeze(1).float() / attention_mask.sum(dim=-1, keepdim=True)


_POOLS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"cls": _cls, "mean": _mean}
