"""In a worker: the checkpoint in PyTorch with `sdpa` attention and no pooler, eager or through torch.compile.

On a GPU each call copies the ids there and the vectors back; the second copy waits for the device, so that a call that
has returned is over.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize
from transformers import AutoModel

from exporter.host.quiet import quiet_transformers
from exporter.measure.protocol import Embed, Pooled

_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def load(folder: str, compile_for: Sequence[Sequence[int]], threads: int) -> Pooled:
    """The model in fp32 on the processor, and each strategy's pooling behind it.

    `compile_for`: run torch.compile, with dynamic shapes, and warm it up on these (rows, tokens); empty: eager.
    """
    model = _model(folder, "fp32", "cpu", threads)
    call: Any = torch.compile(model, dynamic=True) if compile_for else model

    def forward(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> torch.Tensor:
        with torch.inference_mode():
            ids, mask = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
            hidden: torch.Tensor = call(input_ids=ids, attention_mask=mask).last_hidden_state
            return hidden

    def pool(strategy: str) -> Callable[[torch.Tensor, npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
        def vectors(hidden: torch.Tensor, attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            with torch.inference_mode():
                return normalize(_POOLS[strategy](hidden, torch.from_numpy(attention_mask)), dim=-1).numpy()

        return vectors

    for rows, tokens in compile_for:
        ones = np.ones((rows, tokens), np.int64)
        forward(ones, ones)
    return Pooled(forward, {strategy: pool(strategy) for strategy in _POOLS})


def load_int8(folder: str, threads: int) -> Embed:
    """The model with PyTorch's own dynamic quantisation of its linear layers, on the processor; mean pooling."""
    model = torch.ao.quantization.quantize_dynamic(
        _model(folder, "fp32", "cpu", threads), {torch.nn.Linear}, dtype=torch.qint8
    )

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            ids, mask = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors: npt.NDArray[np.float32] = normalize(_mean(hidden, mask), dim=-1).numpy()
            return vectors

    return embed


def load_on(folder: str, strategy: str, dtype: str, device: str, compiled: bool, threads: int) -> Embed:
    """The model on a device with one strategy's pooling there; float32 vectors of unit length on the host.

    Padding lies on the right. fp32 products do without TF32, as is the default. `compiled`: model and pooling are one
    function of torch.compile, default mode, dynamic shapes.
    """
    model, pool = _model(folder, dtype, device, threads), _POOLS[strategy]

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


def _model(folder: str, dtype: str, device: str, threads: int) -> Any:
    torch.set_num_threads(threads)
    with quiet_transformers():
        model = AutoModel.from_pretrained(
            folder, dtype=_DTYPES[dtype], attn_implementation="sdpa", add_pooling_layer=False, local_files_only=True
        )
    return model.to(device).eval().requires_grad_(False)


def _cls(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    return hidden[:, 0]


def _mean(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """One matrix product, whose sums are taken in fp32 on a GPU whatever the inputs are."""
    mask = attention_mask.unsqueeze(1).to(hidden.dtype)
    return (mask @ hidden).squeeze(1).float() / attention_mask.sum(dim=-1, keepdim=True)


_POOLS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"cls": _cls, "mean": _mean}
