"""What a system's vectors are. Runs in a process of its own, in the peers' environment where the system does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.measure import worker
from exporter.measure.workloads import Batch

Vectors = npt.NDArray[np.float32]


def vectors(
    function: str, arguments: Mapping[str, Any], threads: int, strategy: str, groups: Sequence[Sequence[Batch]]
) -> list[Vectors]:
    """Load a system, and have its vectors of each group of batches, float32 [texts of the group, dim]."""
    _, system = worker.load(function, arguments, threads)
    pool = system.pools.get(strategy)

    def embed(batch: Batch) -> Vectors:
        output = system.forward(batch.input_ids, batch.attention_mask)
        return np.array(output if pool is None else pool(output, batch.attention_mask))

    return [np.concatenate([embed(batch) for batch in batches]) for batches in groups]
