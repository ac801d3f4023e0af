"""LlamaIndex: `Settings.embed_model = PoolfoldEmbedding("DIR")`. Needs llama-index-core."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import BaseEmbedding

from poolfold.integrations.embedder import Embedder, open_embedder, rows

_BATCH = 256
"""Texts that LlamaIndex hands over at once; of its own 10 few have a similar length, to be computed together."""


class PoolfoldEmbedding(BaseEmbedding):
    """An artifact as LlamaIndex's embedding; queries and texts get the checkpoint's prompts.

    `to_dict` saves how it was opened; `from_dict` opens the same artifact again, or raises `ArtifactError`.
    """

    _embedder: Embedder = PrivateAttr()

    def __init__(self, artifact: str | Path, **options: Any) -> None:
        """Open the artifact; options: those of `poolfold.load`, `Options`, and LlamaIndex's own."""
        theirs = {name: options.pop(name) for name in tuple(options) if name in BaseEmbedding.model_fields}
        embedder = open_embedder(artifact, **options)
        own: dict[str, Any] = {"model_name": embedder.encoder.model.source, "embed_batch_size": _BATCH}
        super().__init__(**own | theirs)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """The name that a saved one has."""
        return "PoolfoldEmbedding"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """LlamaIndex's values and what opens the artifact again."""
        return super().to_dict(**kwargs) | dict(self._embedder.config)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.query(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return rows(self._embedder.documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
