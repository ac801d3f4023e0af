"""What a checkpoint is and says it is: the values that every stage goes by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from graphs.head import Head
from graphs.strategy import Strategy
from poolfold.manifest import Text


class DType(StrEnum):
    """Precision of what runs. It lives in the graph, not in a builder flag; bf16 alone is how an fp32 graph is run."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def of_graph(self) -> DType:
        """The precision of the graph that runs."""
        return DType.FP32 if self is DType.BF16 else self


class Form(StrEnum):
    """In which layout a graph computes its tokens. The vectors are the same."""

    PLAIN = "plain"
    """[batch, seq, ...], padding included."""
    PADDING_FREE = "padding-free"
    """Real tokens only; the graph finds them in attention_mask."""
    PACKED = "packed"
    """Real tokens only; their places are the further input token_positions."""


@dataclass(frozen=True)
class Source:
    """Where a checkpoint lies. `revision` is a commit sha for a hub id, None for a folder."""

    name: str
    folder: Path
    revision: str | None


@dataclass(frozen=True)
class ModelSpec:
    """What the checkpoint says it is, everything but the transformer's weights.

    trained: the strategy it was trained with, or None where it does not say.
    head: the modules behind the pooling, in order, weights included (they are small).
    transformer: the folder of the transformer inside `source.folder`, absolute.
    tokenizer_json: the tokeniser, complete, as the runtime will load it.
    token_types: whether the tokeniser hands token_type_ids to the model as well.
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
    token_types: bool
    allow_pickle: bool
    trust_remote_code: bool
