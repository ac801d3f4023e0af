"""Sessions: what runs a graph or an engine for an encoder. Each runtime has one file or folder.

ort             ONNX Runtime; ort_providers: on an NVIDIA GPU, with a check that the GPU computes
openvino        OpenVINO on the CPU
tensorrt/       engines of TensorRT and TensorRT-RTX
by_padding      two forms of a graph in one session; each batch runs on the faster one
profiles        splits a batch into shapes that an engine accepts
graph_inputs    names of inputs and output; the inputs for a batch
user_cache      files kept between processes

`poolfold.load` chooses the session of a target.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

CLOSED = "the encoder is closed; load the artifact again to go on"
"""Message of the InputError that `run` raises after `close`."""


class Session(Protocol):
    """One graph or engine, ready to run. Safe to share between threads."""

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim]. The caller has checked the inputs."""
        ...

    def close(self) -> None:
        """Free the runtime's memory; a later `run` raises InputError. Closing twice does nothing."""
        ...
