"""What a model is, as read from its files: values for every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.spec.origin import CHECKPOINT, ONNX_FILE, Origin, Trust
from graphs.pooling.head import Head
from graphs.pooling.strategy import Strategy
from poolfold.errors import InputError
from poolfold.manifest import Text, TokenizerReading

if TYPE_CHECKING:  # it would import onnx-ir, which most commands do without
    from graphs.encoder.foreign_encoder import ForeignEncoder


STATIC = "static"
"""The `model_type` of a static model: token vectors that no layer changes."""


class DType(StrEnum):
    """Precision of what runs. It lives in the graph, not in a builder flag; bf16 alone is how an fp32 graph is run.

    int8, fp8 (e4m3): weights, and the activations that they are multiplied by; the rest is fp32, or what the CPU has,
    and fp16 in an engine.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"

    @property
    def of_graph(self) -> DType:
        """The precision of the graph that runs."""
        return DType.FP32 if self is DType.BF16 else self

    @property
    def in_8_bits(self) -> bool:
        """Whether linear layers are in 8 bits, each target having a graph of its own."""
        return self in (DType.INT8, DType.FP8)

    @property
    def runs_everywhere(self) -> bool:
        """Whether a graph in it is made for every target alike, and checked in ONNX Runtime."""
        return self in (DType.FP32, DType.FP16)


def read_dtypes(names: Iterable[str]) -> tuple[DType, ...]:
    """Precisions by name, each once.

    Raises:
        InputError: a name that is none.
    """
    for name in names:
        if name not in list(DType):
            raise InputError(f"dtype {name!r} is unknown; expected one of {', '.join(DType)}.")
    return tuple(DType(name) for name in dict.fromkeys(names))


class Form(StrEnum):
    """In which layout a graph computes its tokens. The vectors are the same."""

    PLAIN = "plain"
    """[batch, seq, ...], padding included."""
    PADDING_FREE = "padding-free"
    """Real tokens only; the graph finds them in attention_mask."""
    PACKED = "packed"
    """Real tokens only; their places are the further input token_positions."""
    PROMPTED = "prompted"
    """Behind a prompt, whose keys and values are the further input prompt_states; of which there may be none."""


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file whose encoder somebody else exported.

    path: absolute.
    encoder: which part of it counts.
    shapes: of its initializers, by name.
    """

    path: Path
    encoder: ForeignEncoder
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Source:
    """Where a model lies.

    name: as the user may call it again: a hub id, or an absolute path.
    folder: its configuration, tokenizer and modules; its weights too, where `graph` is None.
    revision: a commit sha for a hub id, the SHA-256 of a graph, None for a folder.
    graph: what computes the token vectors; None where PyTorch does, with the weights of `folder`.
    """

    name: str
    folder: Path
    revision: str | None
    graph: GraphFile | None = None

    @property
    def public_name(self) -> str:
        """What an artifact may tell of it: the hub id, or the bare name of the folder or the file, without the path."""
        is_of_hub = self.graph is None and self.revision is not None
        return self.name if is_of_hub else Path(self.name).name

    @property
    def origin(self) -> Origin:
        """What kind of model it is."""
        return CHECKPOINT if self.graph is None else ONNX_FILE


@dataclass(frozen=True)
class ModelSpec:
    """What the checkpoint says it is, everything but the transformer's weights.

    trained: the strategy it was trained with, or None where it does not say.
    head: the modules after the pooling, in order, weights included (they are small).
    transformer: the folder of the transformer inside `source.folder`, absolute: configuration and tokenizer, and the
        weights, unless `source.graph` has them.
    adapter: the folder of a LoRA adapter that is merged into the transformer, absolute; it may be the same.
    tokenizer_json: the tokeniser, complete, as the runtime will load it.
    tokenizer: whose ids it gives, and how often another reading gives others.
    token_types: whether the tokeniser hands token_type_ids to the model as well.
    trust: what reading it was allowed to do.
    heads: of its attention.
    window: tokens that a layer's attention sees at most, where that is fewer than all.
    parameters: of the transformer; 0 where the files do not tell.
    matryoshka_dimensions: lengths of vectors that the checkpoint says it was trained for.
    zero_ids: tokens of a static model whose vectors are zero; a text of these alone has no vector.
    """

    source: Source
    transformer: Path
    model_type: str
    hidden_size: int
    num_layers: int
    vocab_size: int
    trained: Strategy | None
    head: Head
    text: Text
    similarity: str
    tokenizer_json: str
    tokenizer: TokenizerReading
    token_types: bool
    trust: Trust
    adapter: Path | None = None
    heads: int = 1
    window: int | None = None
    parameters: int = 0
    matryoshka_dimensions: tuple[int, ...] = ()
    zero_ids: frozenset[int] = frozenset()

    def small_file(self, name: str) -> Path:
        """A file of configuration or tokenizer: the adapter's where it has one, else the transformer's."""
        own = (self.adapter or self.transformer) / name
        return own if own.is_file() else self.transformer / name
