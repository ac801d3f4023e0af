"""In a worker: a checkpoint in PyTorch in a precision; and an artifact behind its folded prompt."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize
from transformers import AutoModel

import poolfold
from exporter.host.quiet import quiet_transformers
from exporter.measure.protocol import Embed


def pytorch(folder: str, pooling: str, dtype: str, threads: int) -> Embed:
    """The transformer with `sdpa` attention, pooled and normalised; the Dense layers, a thousandth, are left out."""
    torch.set_num_threads(threads)
    with quiet_transformers():
        model: Any = AutoModel.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="sdpa", local_files_only=True
        )
    model.eval().requires_grad_(False)
    model.config.use_cache = False

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            mask = torch.from_numpy(attention_mask)
            hidden = model(input_ids=torch.from_numpy(input_ids), attention_mask=mask).last_hidden_state
            rows = torch.arange(len(mask))
            if pooling == "mean":
                pooled = (mask.unsqueeze(1).to(hidden.dtype) @ hidden).squeeze(1).float() / mask.sum(1, keepdim=True)
            else:
                place = mask.argmax(1) if pooling == "cls" else (mask * torch.arange(mask.shape[1])).argmax(1)
                pooled = hidden[rows, place].float()
            vectors: npt.NDArray[np.float32] = normalize(pooled, dim=-1).numpy()
            return vectors

    return embed


def folded(directory: str, strategy: str, dtype: str, target: str, threads: int) -> Embed:
    """What follows the artifact's first folded prompt, which all rows begin with and which is not computed."""
    warnings.filterwarnings("ignore", "a text has .* tokens", UserWarning)
    encoder = poolfold.load(directory, strategy=strategy, dtype=dtype, target=target, threads=threads)
    prompt = next(iter(encoder.folded.values()))

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        count = len(prompt.ids)
        if (input_ids[:, :count] != prompt.ids).any():
            raise ValueError(f"rows begin with {input_ids[:, :count].tolist()}; expected {prompt.ids}")
        return prompt.run(input_ids[:, count:], attention_mask[:, count:])

    return embed
