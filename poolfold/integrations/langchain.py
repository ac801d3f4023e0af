"""LangChain: `PoolfoldEmbeddings("DIR")`, for every vector store. Needs langchain-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from langchain_core.embeddings import Embeddings
from langchain_core.load.serializable import Serializable
from pydantic import PrivateAttr

from poolfold.integrations.embedder import Embedder, Options, open_embedder, rows


class PoolfoldEmbeddings(Serializable, Embeddings):
    """An artifact as LangChain's embeddings; queries and documents get the checkpoint's prompts.

    `dumps` saves how it was opened; `loads(..., allowed_objects=[PoolfoldEmbeddings], valid_namespaces=["poolfold"])`
    opens the same artifact again, or raises `ArtifactError`.
    """

    _embedder: Embedder = PrivateAttr()

    def __init__(self, artifact: str | Path, **options: Unpack[Options]) -> None:
        """Open the artifact; options: those of `poolfold.load`, and `Options`."""
        super().__init__()
        self._embedder = open_embedder(artifact, **options)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts that are searched."""
        return rows(self._embedder.documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return self._embedder.query(text)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Yes: by the artifact's name."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What is saved."""
        return dict(self._embedder.config)
