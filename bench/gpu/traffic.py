"""Bytes that any implementation must move to give the vectors: a lower bound, against which bandwidth is judged.

Each layer's weight matrices once, as they do not fit into a card's registers; the embedding row of each real token; the
int64 ids and mask in, the float32 vectors out. Activations, which may stay in caches, do not count.
"""

from __future__ import annotations

from bench.peers.work import Size

_BYTES = {"fp16": 2, "fp32": 4}


def least_bytes(rows: int, tokens: int, real_tokens: int, size: Size, dtype: str) -> int:
    """For a batch of `rows` x (`tokens` / `rows`), padding included in `tokens`."""
    h, i = size.hidden, size.intermediate
    weights = size.layers * (4 * h * h + 2 * h * i)
    return (weights + real_tokens * h) * _BYTES[dtype] + 2 * 8 * tokens + 4 * rows * h
