"""A PyTorch checkpoint: its encoder, traced, and its reference vectors. Needs PyTorch."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from exporter.model.checkpoint.weights import check_weights
from exporter.model.experts import cost_of_experts
from exporter.model.pytorch import Reference, load_backbone
from exporter.model.trace import export_encoder
from exporter.spec.model import DType, ModelSpec
from exporter.spec.reference import EncoderGraph
from graphs.encoder.cleanup import cleanup
from graphs.pooling.head import Head
from poolfold.sessions.threads import default_threads


class CheckpointModel:
    """A checkpoint whose weights are loaded once, when they are first needed."""

    def __init__(self, spec: ModelSpec, threads: int | None) -> None:
        """Check the weights.

        Args:
            spec: what the checkpoint says it is.
            threads: of PyTorch; None for `default_threads`.

        Raises:
            CheckpointError: weights that are damaged, or not finite.
        """
        torch.set_num_threads(threads or default_threads())
        self._spec = spec
        check_weights(spec.transformer, allow_pickle=spec.trust.allow_pickle)

    @cached_property
    def _backbone(self) -> Any:
        return load_backbone(self._spec)

    def encoder(self, dtypes: tuple[DType, ...]) -> EncoderGraph:
        """Trace the encoder; every precision can be made from it.

        Raises:
            CheckpointError: the model cannot be loaded or traced.
        """
        model = export_encoder(self._backbone, self._spec)
        before = len(model.graph)
        cleanup(model)
        done = f"encoder, once: opset {model.opset_imports['']}, {before} -> {len(model.graph)} nodes"
        return EncoderGraph(model, done, warning=cost_of_experts(self._backbone))

    def reference(self, head: Head) -> Reference:
        """The model in PyTorch, fp32; `head` follows each pooling."""
        return Reference(self._backbone, head)
