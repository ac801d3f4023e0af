"""LanceDB: `PoolfoldEmbeddings.create("DIR")`, or `get_registry().get("poolfold").create("DIR")`. Needs lancedb.

A table saves the function in its schema, and finds it again in a process that imported this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from lancedb.embeddings import EmbeddingFunction, TextEmbeddingFunction, register
from lancedb.embeddings.utils import TEXT
from pydantic import PrivateAttr

from poolfold.integrations.embedder import Embedder, open_embedder

_Vectors = list[npt.NDArray[np.float32] | None]


@register("poolfold")  # type: ignore[no-untyped-call]
class PoolfoldEmbeddings(TextEmbeddingFunction):
    """An artifact as LanceDB's embedding function; queries and texts get the checkpoint's prompts.

    A table that is opened again has the same artifact, or raises `ArtifactError`. Nothing is tried again: what fails
    here fails the second time too.
    """

    artifact: str
    identity: str
    max_retries: int = 0
    _embedder: Embedder = PrivateAttr()

    def __init__(self, artifact: str | Path, **options: Any) -> None:
        """Open the artifact; options: those of `poolfold.load`, `Options`, and LanceDB's own."""
        own = EmbeddingFunction.model_fields
        theirs = {name: options.pop(name) for name in tuple(options) if name in own}
        embedder = open_embedder(artifact, **options)
        fields: dict[str, Any] = {name: embedder.config[name] for name in ("artifact", "identity")}
        super().__init__(**fields | theirs)
        self._embedder = embedder

    @classmethod
    def create(cls, artifact: str | Path = "", **options: Any) -> Self:
        """As the constructor, with LanceDB's variables in the options."""
        created: Self = super().create(artifact=str(artifact), **options)  # type: ignore[no-untyped-call]
        return created

    def safe_model_dump(self) -> dict[str, Any]:
        """What a table saves."""
        return dict(self._embedder.config)

    def ndims(self) -> int:
        """Values of a vector."""
        return self._embedder.dim

    def compute_query_embeddings(self, query: TEXT, *_: Any, **__: Any) -> _Vectors:
        """Vectors of queries."""
        return list(self._embedder.queries(list(self.sanitize_input(query))))

    def generate_embeddings(self, texts: list[str] | npt.NDArray[Any], *_: Any, **__: Any) -> _Vectors:
        """Vectors of texts, and None where a row of the table has none."""
        there = [index for index, text in enumerate(texts) if text is not None]
        vectors: _Vectors = [None] * len(texts)
        for index, vector in zip(there, self._embedder.documents([texts[index] for index in there]), strict=True):
            vectors[index] = vector
        return vectors
