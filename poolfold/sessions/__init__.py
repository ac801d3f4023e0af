"""What an encoder needs of a runtime. Each runtime is one file here, and nothing else knows it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Session(Protocol):
    """One graph or engine, ready to run. Safe to share between threads."""

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim]. Inputs are taken as valid."""
        ...

    def close(self) -> None:
        """Free what the runtime holds; a later `run` raises InputError. Closing twice does nothing."""
        ...
