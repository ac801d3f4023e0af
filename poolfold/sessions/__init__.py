"""What an encoder needs of a runtime. Each runtime is one file here, and nothing else knows it.

ort             ONNX Runtime; ort_providers on an NVIDIA GPU, and proof that it computes there
openvino        OpenVINO on the CPU
tensorrt/       engines of TensorRT and TensorRT-RTX
by_padding      two forms of a graph behind one session: the faster one for each batch
profiles        a batch cut to the shapes that an engine takes
targets         one record a target, and the list of them
user_cache      what is kept between processes
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from poolfold.manifest import Manifest


class Session(Protocol):
    """One graph or engine, ready to run. Safe to share between threads."""

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim]. Inputs are taken as valid."""
        ...

    def close(self) -> None:
        """Free what the runtime holds; a later `run` raises InputError. Closing twice does nothing."""
        ...


@dataclass(frozen=True)
class Opening:
    """What a session is opened for.

    directory, manifest: a verified artifact.
    path: the graph or engine in it.
    dtype: the precision to compute in.
    threads: of one run; None leaves it to the runtime.
    spinning: whether ONNX Runtime's threads busy-wait between the operators of a run.
    provider: what ONNX Runtime computes with.
    gpu: the number of the NVIDIA GPU.
    """

    directory: Path
    manifest: Manifest
    path: str
    dtype: str
    threads: int | None
    spinning: bool
    provider: str
    gpu: int
