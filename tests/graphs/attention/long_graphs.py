"""Graphs whose attention is taken apart, and what memory a long row takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from exporter.host.child_process import OwnProcess
from exporter.measure import memory
from graphs.encoder.cleanup import cleanup
from graphs.encoder.grouped_heads import GroupedHeadsPass
from graphs.last_layer.push_down_row import PushDownRowPass
from graphs.last_layer.row_attention import RowAttentionPass
from graphs.prompt.behind_prompt import BehindPromptPass, states_of
from graphs.unpadding.padding_free import PaddingFreePass
from tests.graphs.build import session
from tests.graphs.encoders import Style, batch_of, canonical, encoder, pooled


def folded(style: Style, strategy: str, *, packed: bool) -> ir.Model:
    """A strategy's graph as the recipe makes it, before attention is taken apart."""
    model = pooled(canonical(encoder(style)), strategy)
    if PushDownRowPass()(model).modified:
        RowAttentionPass()(model)
    GroupedHeadsPass()(model)
    cleanup(model)
    if packed:
        assert PaddingFreePass()(model).modified
        cleanup(model)
    return model


def behind_prompt(style: Style, strategy: str, tokens: int) -> tuple[ir.Model, npt.NDArray[np.float32]]:
    """A strategy's graph behind a prompt, padding-free, and the states of a prompt of so many tokens."""
    model = canonical(encoder(style))
    GroupedHeadsPass()(model)
    cleanup(model)
    states = model.clone()
    states.graph.outputs[:] = states_of(states)
    prompt = batch_of(np.ones((1, tokens)))
    found = np.concatenate(session(states).run(None, {k: prompt[k] for k in ("input_ids", "attention_mask")}))
    BehindPromptPass()(model)
    model = pooled(model, strategy)
    for shorten in (PushDownRowPass(), PaddingFreePass()):
        shorten(model)
        cleanup(model)
    return model, found


def peak_growth(model: ir.Model) -> int:
    """Bytes that a row of 6000 tokens adds to the peak of a process that has run nothing."""
    with OwnProcess(f"{__name__}:run_and_tell", ir.to_proto(model).SerializeToString(), 6000) as process:
        grown: int = process.result()
        return grown


def run_and_tell(graph: bytes, tokens: int) -> int:
    """Bytes that a row of so many tokens adds to the peak of this process."""
    opened = session(ir.from_proto(onnx.ModelProto.FromString(graph)))
    before = memory.resident_bytes()
    assert memory.reset_peak() and before is not None
    batch = batch_of(np.ones((1, tokens)))
    opened.run(None, {name: batch[name] for name in ("input_ids", "attention_mask")})
    peak = memory.peak_bytes()
    assert peak is not None
    return peak - before
