"""How many floating-point operations the vectors of a batch need.

Real tokens only, and nothing that is thrown away. A multiplication and an addition count as two. Matrix products and
attention count; embeddings, norms, activations and pooling do not: they are under a hundredth. For a text of s tokens,
a layer of width h with a feed-forward of width i needs 2 s (4 h^2 + 2 h i) for its weights and 4 s^2 h for its
attention. `mean` needs all of it in every layer. `cls` reads one token of the last layer, so that this layer needs keys
and values of every token, 2 s (2 h^2), and for one token alone the query, its attention, the output and the
feed-forward, 2 (2 h^2 + 2 h i) + 4 s h. What a system computes beyond that is time and not work.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Size:
    """A BERT-like encoder."""

    layers: int
    hidden: int
    intermediate: int


def size_of(checkpoint: Path) -> Size:
    """As the checkpoint's config.json says."""
    config = json.loads((checkpoint / "config.json").read_text())
    return Size(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])


def useful_flops(lengths: Iterable[int], size: Size, strategy: str) -> int:
    """Operations for texts of these lengths, in tokens, pooled by `cls` or `mean`.

    Raises:
        ValueError: another strategy.
    """
    if strategy not in ("cls", "mean"):
        raise ValueError(f"got strategy {strategy!r}, expected cls or mean")
    h, i = size.hidden, size.intermediate
    total = 0
    for s in lengths:
        whole_layer = 2 * s * (4 * h * h + 2 * h * i) + 4 * s * s * h
        last_for_cls = 2 * s * 2 * h * h + 2 * (2 * h * h + 2 * h * i) + 4 * s * h
        total += (size.layers - 1) * whole_layer + (last_for_cls if strategy == "cls" else whole_layer)
    return total


def product_flops(tokens: int, size: Size) -> int:
    """Operations of the two products of `beside_graphs` on this many rows."""
    return 4 * tokens * size.hidden * size.intermediate
