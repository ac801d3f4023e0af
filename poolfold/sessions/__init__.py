"""What an encoder needs of a runtime. Each runtime is one file here, and nothing else knows it.

ort             ONNX Runtime; ort_providers on an NVIDIA GPU, and proof that it computes there
openvino        OpenVINO on the CPU
tensorrt/       engines of TensorRT and TensorRT-RTX
by_padding      two forms of a graph behind one session: the faster one for each batch
profiles        a batch cut to the shapes that an engine takes
user_cache      what is kept between processes
"""

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
