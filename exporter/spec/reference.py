"""What a model gives, whatever it comes from: its encoder as a graph, and the vectors that an artifact must give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from exporter.spec.model import DType
from graphs.pooling.head import Head
from graphs.pooling.strategy import Strategy

if TYPE_CHECKING:  # only processes that work on graphs import it
    import onnx_ir as ir


class Reference(Protocol):
    """The model itself: one pass of it, then pooling and head of every strategy. `name` says who computes it."""

    @property
    def name(self) -> str:
        """Such as PyTorch."""
        ...

    @property
    def described(self) -> str:
        """What computes the vectors, for people."""
        ...

    def embed(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64], strategies: Sequence[Strategy]
    ) -> Mapping[Strategy, npt.NDArray[np.float32]]:
        """int64 [batch, seq] twice -> float32 [batch, dim] for each strategy."""
        ...


@dataclass(frozen=True, eq=False)
class EncoderGraph:
    """A clean fp32 encoder.

    model: input_ids, attention_mask int64 [batch, seq] -> last_hidden_state float32 [batch, seq, hidden].
    done: what was done to get it, in a line.
    warning: what its user should know although it can be taken, if anything.
    """

    model: ir.Model
    done: str
    warning: str | None


class OpenModel(Protocol):
    """A model whose weights are there; `Origin.model` names a class for each kind."""

    def encoder(self, dtypes: tuple[DType, ...]) -> EncoderGraph:
        """The encoder, from which graphs in `dtypes` can be made."""
        ...

    def reference(self, head: Head) -> Reference:
        """The model itself; `head` follows each pooling."""
        ...
