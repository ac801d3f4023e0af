"""Sessions: what runs a graph or an engine for an encoder. Each runtime has one file or folder.

ort             ONNX Runtime; ort_providers: on an NVIDIA GPU, with a check that the GPU computes
openvino        OpenVINO on the CPU
tensorrt/       engines of TensorRT and TensorRT-RTX
by_padding      two forms of a graph in one session; each batch runs on the faster one
behind_prompt   a graph that starts behind a prompt, whose keys and values it is given
token_graph     the graph that gives the vectors of tokens
outputs         which rows are never handed out
profiles        splits a batch into shapes that an engine accepts
external_data   the tensors of a graph that lie in another file
graph_inputs    names of inputs and output; the inputs for a batch
packing         positions of the real tokens in a batch
memory          what a run may take, and what to do where there is too little
targets         one record a target, and the list of them
int8_products   whether ONNX Runtime's products of int8 must be told to be exact
threads         how many threads a run takes where the caller does not say
user_cache      files kept between processes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from poolfold.manifest import Manifest
from poolfold.verify.files import OpenFile

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


@dataclass(frozen=True)
class Opening:
    """What a session is opened for.

    directory, manifest: a verified artifact.
    path: the graph or engine in it.
    dtype: the precision to compute in.
    threads: of one run; None for `default_threads`.
    spinning: whether ONNX Runtime's threads busy-wait between the operators of a run.
    provider: what ONNX Runtime computes with.
    gpu: the number of the NVIDIA GPU.
    open_file: gives a file of the artifact, by its path; those that were checked, as they were opened for it.
    """

    directory: Path
    manifest: Manifest
    path: str
    dtype: str
    threads: int | None
    spinning: bool
    provider: str
    gpu: int
    open_file: Callable[[Path], OpenFile]
