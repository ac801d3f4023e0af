"""What computes the vectors that an artifact must give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from graphs.pooling.strategy import Strategy


class Reference(Protocol):
    """The model itself, with every strategy's pooling and head behind one pass; `name` says who computes it."""

    @property
    def name(self) -> str:
        """Such as PyTorch."""
        ...

    def embed(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], strategies: Sequence[Strategy]
    ) -> Mapping[Strategy, npt.NDArray[np.float32]]:
        """int64 [batch, seq] twice -> float32 [batch, dim] for each strategy."""
        ...
