"""Chroma: `create_collection(..., embedding_function=PoolfoldEmbeddingFunction("DIR"))`. Needs chromadb.

Chroma saves the function with the collection, and finds it again in a process that imported this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

from poolfold.errors import InputError
from poolfold.integrations.embedder import Options, open_embedder

_SPACES: dict[str, Space] = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


@register_embedding_function
class PoolfoldEmbeddingFunction(EmbeddingFunction[Documents]):
    """An artifact as Chroma's embedding function; queries and documents get the checkpoint's prompts.

    A collection that is opened again has the same artifact, or is refused: by Chroma's ValueError, with our words.
    """

    def __init__(self, artifact: str | Path, **options: Unpack[Options]) -> None:
        """Open the artifact; options: those of `poolfold.load`, and `Options`."""
        self._embedder = open_embedder(artifact, **options)

    def __call__(self, input: Documents) -> Embeddings:
        """Vectors of documents."""
        return list(self._embedder.documents(input).astype(np.float32))

    def embed_query(self, input: Documents) -> Embeddings:
        """Vectors of queries."""
        return list(self._embedder.queries(input).astype(np.float32))

    @staticmethod
    def name() -> str:
        """The name that a collection keeps."""
        return "poolfold"

    def get_config(self) -> dict[str, Any]:
        """What a collection keeps."""
        return dict(self._embedder.config)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> PoolfoldEmbeddingFunction:
        """The function of a collection."""
        return PoolfoldEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse another artifact for vectors that are there; it may lie elsewhere."""
        if old_config.get("identity") != new_config.get("identity"):
            raise InputError(
                f"The collection has vectors of {old_config.get('artifact')}, and {new_config.get('artifact')} is "
                "another artifact. Make a collection for it, and embed the documents again."
            )

    def default_space(self) -> Space:
        """The distance that the model was trained for."""
        return _SPACES.get(self._embedder.encoder.similarity_fn_name, "l2")

    def supported_spaces(self) -> list[Space]:
        """Any."""
        return ["cosine", "l2", "ip"]
