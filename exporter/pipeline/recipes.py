"""Recipes: which passes make a strategy's graph of a dtype and form, in which order, and why.

The only place where order is decided. The encoder comes in as traced and cleaned, once; clones share its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from exporter.spec.model import DType, Form
from graphs.attention.blocked_windows import BlockedWindowsPass, longest_in_one_block
from graphs.attention.sliced_attention import SlicedAttentionPass
from graphs.encoder.cleanup import cleanup
from graphs.encoder.constant_shapes import ConstantShapesPass
from graphs.encoder.embedding_sums import EmbeddingSumsPass
from graphs.encoder.grouped_heads import GroupedHeadsPass
from graphs.encoder.ids_of_tokens import IdsOfTokensPass
from graphs.encoder.rms_norm import RmsNormPass
from graphs.encoder.uniform_lookups import UniformLookupsPass
from graphs.last_layer.push_down_row import PushDownRowPass
from graphs.last_layer.row_attention import RowAttentionPass
from graphs.mask.canonical_mask import CanonicalMaskPass
from graphs.pooling.fold_head import FoldHeadPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Head
from graphs.pooling.strategy import Strategy
from graphs.pooling.whole_mask import WholeMaskPass
from graphs.portable.lower_opset import LowerOpsetPass
from graphs.portable.plain_operators import PlainOperatorsPass
from graphs.portable.token_vectors import add_token_vectors
from graphs.precision.float16 import ConvertToFloat16Pass, KeptNode
from graphs.precision.half_storage import HalfStoragePass
from graphs.prompt.behind_prompt import BehindPromptPass
from graphs.quantization.quantize_rows import QuantizeRowsPass
from graphs.quantization.quantize_static import QuantizeStaticPass
from graphs.quantization.quantize_tables import QuantizeTablesPass
from graphs.quantization.quantize_weights import QuantizeWeightsPass
from graphs.quantization.quantized import Quantization
from graphs.unpadding.padding_free import PaddingFreePass
from poolfold.sessions.targets import Rounding, find_target

Notes = Mapping[str, str]
"""What each pass did to a graph, or why it did nothing."""

WHOLE_UP_TO = 512
"""Tokens of the longest batch whose attention is computed at once: there, slices gain little and cost operators."""
SLICE = 256
"""Queries in a slice."""
_BLOCK = 128
"""Least queries in a block of a window."""


@dataclass
class SharedEncoder:
    """What the graphs of one export share: the encoder, the head, and weights once they are converted.

    encoder: fp32 graph ending in last_hidden_state, after `prepare_encoder`.
    include_prompt: whether the prompt's tokens are pooled; if not, the mask marks them by a 2.
    measured: the largest magnitude of each tensor on real text; empty where fp16 was not asked for.
    longest: tokens of the longest text; attention of no text beyond WHOLE_UP_TO is computed at once.
    quantizations: how weights are put into 8 bits, by the target and the precision; empty where none is.
    converted, stored: fp32 tensor -> what `ConvertToFloat16Pass` and `HalfStoragePass` made of it.
    """

    encoder: ir.Model
    head: Head
    measured: Mapping[str, float] = field(default_factory=dict)
    converted: dict[Any, Any] = field(default_factory=dict)
    stored: dict[Any, Any] = field(default_factory=dict)
    include_prompt: bool = True
    longest: int = 0
    quantizations: Mapping[tuple[str, DType], Quantization] = field(default_factory=dict)


@dataclass(frozen=True)
class StrategyGraph:
    """One strategy in fp32, in every form that its graph can take, and what was done to it."""

    forms: Mapping[Form, ir.Model]
    notes: Notes


@dataclass(frozen=True)
class TypedGraph:
    """A graph ready to save, and what was done to it.

    kept: the nodes that stayed fp32 in fp16.
    layers: linear layers in 8 bits.
    """

    model: ir.Model
    kept: tuple[KeptNode, ...] = ()
    notes: Notes = field(default_factory=dict)
    layers: int = 0


def prepare_encoder(encoder: ir.Model, pad_token_id: int) -> None:
    """What every strategy gains by, done once, in place. The encoder is clean fp32 and ends in last_hidden_state."""
    # First: later passes read shapes as constants, and carry tokens through a Reshape only by them.
    ConstantShapesPass()(encoder)
    # Before the pooling, which reads the attention_mask as well.
    CanonicalMaskPass()(encoder)
    # Behind the masks, whose subgraphs are told by what reads the attention_mask.
    IdsOfTokensPass(pad_token_id)(encoder)
    # Token types first: only as a constant row do they belong into the positions.
    UniformLookupsPass()(encoder)
    EmbeddingSumsPass()(encoder)
    # Before the strategies, which follow rows and tokens through one operator instead of seven.
    RmsNormPass()(encoder)
    cleanup(encoder)


def fold_strategy(shared: SharedEncoder, strategy: Strategy) -> StrategyGraph:
    """Pooling and head on a clone of the encoder, which then computes only what the pooling reads."""
    plain = shared.encoder.clone()
    _fold(plain, shared, strategy)
    push_down = PushDownRowPass()
    if push_down(plain).modified:
        # Only the push-down makes attentions of one query.
        RowAttentionPass()(plain)
    # After the push-down: engines fuse an attention of one query only if each head has its own keys and values.
    GroupedHeadsPass()(plain)
    cleanup(plain)
    forms = {Form.PLAIN: plain}
    for form in (Form.PADDING_FREE, Form.PACKED):
        graph = plain.clone()
        # After the push-down: nodes that compute one row a text see no padding any more.
        padding_free = PaddingFreePass(positions_as_input=form is Form.PACKED)
        if padding_free(graph).modified:
            cleanup(graph)
            forms[form] = graph
    notes = {"row-push-down": push_down.result.describe(), "padding-free": padding_free.result.describe()}
    return StrategyGraph(forms, notes)


def with_grouped_heads(encoder: ir.Model) -> ir.Model:
    """A clone whose Attentions take keys and values before they are repeated, as a prompt's states are kept."""
    graph = encoder.clone()
    if GroupedHeadsPass()(graph).modified:
        # The nodes that repeated them would be taken for readers of the batch's length.
        cleanup(graph)
    return graph


def fold_behind_prompt(shared: SharedEncoder, strategy: Strategy) -> ir.Model:
    """The strategy in fp32 behind a prompt, padding-free; for CPUs, whose kernels take one query and grouped heads."""
    graph = with_grouped_heads(shared.encoder)
    # Before the pooling, which reads the batch's own mask.
    BehindPromptPass()(graph)
    _fold(graph, shared, strategy)
    for shorten in (PushDownRowPass(), PaddingFreePass()):
        if shorten(graph).modified:
            cleanup(graph)
    return graph


def fold_portable(shared: SharedEncoder, strategy: Strategy) -> TypedGraph:
    """The strategy in fp32 for other programs: token vectors besides, and operators that older runtimes have."""
    graph = shared.encoder.clone()
    hidden = graph.graph.outputs[0]
    _fold(graph, shared, strategy)
    # No push-down: whoever pools by itself reads every row.
    add_token_vectors(graph, hidden)
    PlainOperatorsPass()(graph)
    cleanup(graph)
    # Last: no pass behind it may bring an operator that is younger.
    HalfStoragePass(shared.stored)(graph)
    LowerOpsetPass()(graph)
    return TypedGraph(graph)


def _fold(graph: ir.Model, shared: SharedEncoder, strategy: Strategy) -> None:
    """Append pooling and head to an encoder."""
    FoldPoolingPass(strategy, prompt_apart=not shared.include_prompt)(graph)
    if not shared.include_prompt:
        # Behind the pooling, by which it tells the encoder's readers of the mask from the pooling's.
        WholeMaskPass()(graph)
    # The head reads sentence_embedding, which the pooling makes.
    FoldHeadPass(shared.head)(graph)
    # Every value needs its dtype and shape for what follows; pooling and head are new.
    cleanup(graph)


def build_graph(
    shared: SharedEncoder, graph: ir.Model, dtype: DType, *, blocks: bool = False, target: str | None = None
) -> TypedGraph:
    """A form of a strategy in one precision; `graph` stays as it is.

    Args:
        shared: what all graphs share.
        graph: the form in fp32.
        dtype: the precision.
        blocks: compute windows in blocks where texts are long, for runtimes whose kernels hold every score.
        target: what runs it, where each has its own: in 8 bits.
    """
    graph, notes = graph.clone(), {}
    if blocks and shared.longest > WHOLE_UP_TO:
        # Behind all passes that look at attentions.
        windows = BlockedWindowsPass(_BLOCK, shared.longest)
        if windows(graph).modified:
            notes["blocked-windows"] = windows.result.describe()
    if target is not None and find_target(target).rounding is Rounding.STATIC:
        # What engines are built of: all that is not in 8 bits is fp16.
        static = QuantizeStaticPass(shared.quantizations[target, dtype])
        static(graph)
        return _in_half(shared, graph, static.layers)
    if dtype in (DType.FP32, DType.INT8):
        return _stored(shared, graph, dtype, notes, target)
    if dtype is not DType.FP16:
        raise ValueError(f"{dtype} is no precision of a graph; expected {dtype.of_graph}, which it executes")
    return _in_half(shared, graph, layers=0)


def _in_half(shared: SharedEncoder, graph: ir.Model, layers: int) -> TypedGraph:
    # Last: its rules look at each node and its inputs, which no later pass may change.
    convert = ConvertToFloat16Pass(shared.measured, shared.converted)
    convert(graph)
    return TypedGraph(graph, tuple(convert.kept), layers=layers)


def slice_attention(
    shared: SharedEncoder, graph: ir.Model, dtype: DType = DType.FP32, target: str | None = None
) -> TypedGraph | None:
    """A form of a strategy for ONNX Runtime with the attention of long texts in slices; None where no text is long."""
    if shared.longest <= WHOLE_UP_TO:
        return None
    # Behind all passes that look at attentions, which are in branches from here on.
    graph, slices = graph.clone(), SlicedAttentionPass(WHOLE_UP_TO, SLICE)
    if not slices(graph).modified:
        return None
    return _stored(shared, graph, dtype, {"sliced-attention": slices.result.describe()}, target)


def _stored(shared: SharedEncoder, graph: ir.Model, dtype: DType, notes: Notes, target: str | None) -> TypedGraph:
    """A graph that computes in fp32 with its weights as they are stored."""
    layers = 0
    if dtype is DType.INT8:
        if target is None:
            raise ValueError("a graph in int8 is made for a target; got none")
        # Before the weights that stay are stored: it looks for constants in front of a product, too.
        quantization, by_itself = shared.quantizations[target, dtype], find_target(target).rounding is Rounding.GROUPS
        rounding = (QuantizeWeightsPass if by_itself else QuantizeRowsPass)(quantization)
        for quantize in (QuantizeTablesPass(quantization), rounding):
            quantize(graph)
        layers = rounding.layers
    # Last: every other pass looks for constants in front of a node, and not for casts of them.
    HalfStoragePass(shared.stored)(graph)
    return TypedGraph(graph, notes=notes, layers=layers)


def longest_switch(window: int | None) -> int:
    """Tokens of the shortest batch that is computed as every longer one is, where texts are long.

    Args:
        window: tokens that a layer's attention sees at most; None where no layer has a window.
    """
    slices = WHOLE_UP_TO + 1
    # Besides its own key a query reaches window + 1 at most, where a window both ways is rounded up on either side. One
    # token more begins a second block; with two more, a window that is not obeyed shows.
    return slices if window is None else max(slices, longest_in_one_block(_BLOCK, window + 1) + 2)
