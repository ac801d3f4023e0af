"""The encoder, exported once: a PyTorch transformer -> an fp32 ONNX graph that ends in last_hidden_state.

Pooling is folded in later, on the graph, so that a further strategy costs milliseconds instead of another export.
The tracing batch is ragged and padded: an all-ones mask lets a tracer drop the mask, and the graph is then wrong for
every real batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import onnx_ir as ir
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from exporter.host.quiet import quiet_loggers
from exporter.model.experts import every_expert_computed
from exporter.spec.model import ModelSpec
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, LAST_HIDDEN_STATE
from poolfold.errors import CheckpointError, first_line

OPSET = 23
"""The first opset with `Attention` and `RMSNormalization` as single operators; TensorRT fuses the former by itself."""

INPUTS = (INPUT_IDS, ATTENTION_MASK)
_SHORTEST_TRACE = 4


class _LastHiddenState(torch.nn.Module):
    """The two-input form of a transformer: token_type_ids, positions and caches fold to their defaults."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """int64 [batch, seq], int64 [batch, seq] -> float32 [batch, seq, hidden]."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


def export_encoder(backbone: torch.nn.Module, spec: ModelSpec) -> ir.Model:
    """Trace the transformer into a graph.

    Args:
        backbone: the transformer, fp32, in evaluation mode.
        spec: what the checkpoint says it is.

    Returns:
        A model with inputs input_ids, attention_mask int64 [batch, seq] and output last_hidden_state float32
        [batch, seq, hidden]. Its weights share memory with `backbone` where the tracer allows it.

    Raises:
        CheckpointError: the architecture cannot be traced, or its graph does not depend on both inputs or gives vectors
            of another size than the checkpoint says.
    """
    wrapper = _LastHiddenState(backbone).eval()
    axes: Any = {0: "batch", 1: "seq"}
    quiet = quiet_loggers("torch.onnx", "torch._export", "onnxscript", "onnx_ir")
    with quiet, _attention_that_copies(), every_expert_computed():
        try:
            program = torch.onnx.export(
                wrapper,
                _tracing_batch(spec),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[LAST_HIDDEN_STATE],
                dynamic_shapes=(axes, axes),
                # torch's own optimiser writes a RotaryEmbedding that ONNX Runtime refuses at batch > 1;
                # graphs.encoder.cleanup does what is needed of the rest.
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise CheckpointError(
                f"{spec.source.name}: torch.onnx.export cannot trace a {spec.model_type!r} transformer "
                f"({first_line(error)}). It is not supported by this release."
            ) from error
    if program is None:
        raise CheckpointError(f"{spec.source.name}: torch.onnx.export returned no graph for {spec.model_type!r}.")
    model: ir.Model = program.model
    _require_contract(model, spec)
    return model


@contextlib.contextmanager
def _attention_that_copies() -> Iterator[None]:
    """Copy the output of fused attention, so that it lies in memory as [batch, seq, heads, head] on every device.

    PyTorch traces twice, and its attention with a position bias (T5) lays out its result in one order the first time
    and in another the second: a `contiguous` that did nothing is then missing before the view that needs it. The copy
    is always traced, and `graphs.encoder.cleanup` removes it.
    """
    attention = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def copying(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, Any]:
        output, weights = attention(*args, **kwargs)
        return output.clone(memory_format=torch.contiguous_format), weights

    ALL_ATTENTION_FUNCTIONS["sdpa"] = copying
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = attention


def _tracing_batch(spec: ModelSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """A small ragged batch: int64 [3, seq] ids, int64 [3, seq] mask with padding on the model's own side."""
    seq = max(_SHORTEST_TRACE, min(9, spec.text.max_seq_length - 1))
    ids = torch.arange(3 * seq).reshape(3, seq) % max(1, min(spec.vocab_size, 100) - 5) + min(5, spec.vocab_size - 1)
    mask = torch.ones_like(ids)
    mask[1, seq - 2 :] = 0
    mask[2, 1:] = 0
    if spec.text.padding_side == "left":
        mask = mask.flip(1)
    return ids.where(mask.bool(), spec.text.pad_token_id), mask


def _require_contract(model: ir.Model, spec: ModelSpec) -> None:
    """Both inputs must be there and be read, since a dropped mask gives wrong vectors for every padded batch."""
    names = {value.name: value for value in model.graph.inputs}
    for name in INPUTS:
        if name not in names or not names[name].uses():
            raise CheckpointError(
                f"{spec.source.name}: the exported {spec.model_type!r} graph does not read {name}, so padded batches "
                "would give wrong vectors. This architecture is not supported by this release."
            )
    shape = model.graph.outputs[0].shape
    if shape is None or len(shape) != 3 or shape[2] != spec.hidden_size:
        raise CheckpointError(
            f"{spec.source.name}: this {spec.model_type!r} gives {LAST_HIDDEN_STATE} of shape {shape}; expected "
            f"[batch, seq, {spec.hidden_size}], one vector a token. This architecture is not supported by this release."
        )
