"""In a worker: the checkpoint in PyTorch, eager or through torch.compile, with `sdpa` attention and no pooler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize
from transformers import AutoModel

from exporter.host.quiet import quiet_transformers
from exporter.measure.protocol import Pooled


def load(folder: str, compile_for: Sequence[Sequence[int]], threads: int) -> Pooled:
    """The model, pooled in PyTorch.

    Args:
        folder: of the transformer.
        compile_for: run torch.compile, with dynamic shapes, and warm it up on these (rows, tokens); empty: eager.
        threads: torch's intra-op threads.
    """
    torch.set_num_threads(threads)
    with quiet_transformers():
        model = AutoModel.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", add_pooling_layer=False, local_files_only=True
        )
    model.eval().requires_grad_(False)
    call: Any = torch.compile(model, dynamic=True) if compile_for else model

    def forward(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> torch.Tensor:
        with torch.inference_mode():
            ids, mask = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
            hidden: torch.Tensor = call(input_ids=ids, attention_mask=mask).last_hidden_state
            return hidden

    for rows, tokens in compile_for:
        ones = np.ones((rows, tokens), np.int64)
        forward(ones, ones)
    return Pooled(forward, {"cls": _cls, "mean": _mean})


def _cls(hidden: torch.Tensor, attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return normalize(hidden[:, 0], dim=-1).numpy()


def _mean(hidden: torch.Tensor, attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        mask = torch.from_numpy(attention_mask).unsqueeze(1).float()
        return normalize((mask @ hidden).squeeze(1) / mask.sum(dim=-1), dim=-1).numpy()
