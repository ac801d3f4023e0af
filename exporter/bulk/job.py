"""What is asked for, the same in every process: values alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROWS = 8192
"""Of a part: what a kill can lose, and what a process holds."""


@dataclass(frozen=True)
class Job:
    """How texts become vectors; arguments as of `poolfold.load` and `Encoder.encode`.

    column, id_column: of the input; None as `iter_records` has it.
    """

    directory: Path
    column: str | None = None
    id_column: str | None = None
    strategy: str | None = None
    target: str = "onnxruntime"
    dtype: str | None = None
    provider: str = "cpu"
    threads: int | None = None
    batch_size: int = 32
    precision: str = "float32"
    dimensions: int | None = None
    prompt_name: str | None = None
    prompt: str | None = None

    def load(self) -> dict[str, Any]:
        """Arguments of `poolfold.load`."""
        return {name: getattr(self, name) for name in ("directory", "strategy", "target", "dtype", "provider")}

    def encode(self) -> dict[str, Any]:
        """Arguments of `Encoder.encode`."""
        names = ("batch_size", "precision", "dimensions", "prompt_name", "prompt")
        return {name: getattr(self, name) for name in names}

    def decides(self) -> dict[str, Any]:
        """What the parts depend on, besides the artifact and the files."""
        names = ("column", "id_column", "precision", "dimensions", "prompt_name", "prompt")
        return {name: getattr(self, name) for name in names}


class Part(NamedTuple):
    """Rows `number` * ROWS and on of a file, ROWS at most."""

    source: Path
    number: int
