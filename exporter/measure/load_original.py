"""In a worker: load an ONNX file as it is, with one strategy's pooling and the head in numpy.

Importing this module imports the runtime's libraries, so that memory before the load counts them; see `worker`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.measure.protocol import Embed
from exporter.model.checkpoint.head import read_head
from exporter.model.onnx_file import GraphReference
from graphs.pooling.head import Cut, cut_head
from graphs.pooling.strategy import parse_strategy


def load(
    graph: str,
    hidden: str,
    width: int,
    folder: str,
    strategy: str,
    dimensions: int | None,
    renormalize: bool,
    threads: int,
) -> Embed:
    """The reference's `embed` for one strategy, with `threads` threads inside an operator.

    Args:
        graph: the file.
        hidden: its output with the token vectors.
        width: how many values a token vector has.
        folder: where the modules lie.
        strategy: its name.
        dimensions: keep only so many values of each vector; None keeps all.
        renormalize: whether unit vectors have unit length again after the cut.
        threads: of the session.
    """
    head = cut_head(read_head(Path(folder)), Cut(dimensions, renormalize))
    reference = GraphReference(Path(graph), hidden, head, width=width, threads=threads)
    modes = parse_strategy(strategy)

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return reference.embed(input_ids, attention_mask, (modes,))[modes]

    return embed
