"""Haystack: `PoolfoldTextEmbedder("DIR")` for queries, `PoolfoldDocumentEmbedder("DIR")`. Needs haystack-ai."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.core.serialization import allow_deserialization_module

from poolfold.errors import InputError
from poolfold.integrations.embedder import Embedder, Options, open_embedder, rows

# Haystack loads saved components of modules that it was told of alone; who imported this one has told.
allow_deserialization_module(__name__)


class _Component:
    """Opens the artifact when it is first needed, as Haystack's `warm_up` has it, or to be saved.

    `@component` makes another class of the decorated one, so that `super()` does not find this one there.
    """

    def __init__(self, artifact: str | Path, **options: Unpack[Options]) -> None:
        self._artifact, self._options = artifact, options
        self._opened: Embedder | None = None

    def warm_up(self) -> None:
        """Open the artifact."""
        self._embedder()

    def _embedder(self) -> Embedder:
        if self._opened is None:
            self._opened = open_embedder(self._artifact, **self._options)
        return self._opened


@component
class PoolfoldTextEmbedder(_Component):
    """An artifact as the embedder of queries, behind the checkpoint's prompt for them.

    A pipeline that is loaded again has the same artifact, or raises `ArtifactError`.
    """

    def __init__(self, artifact: str | Path, **options: Unpack[Options]) -> None:
        """Name the artifact; options: those of `poolfold.load`, and `Options`."""
        _Component.__init__(self, artifact, **options)

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline saves."""
        return default_to_dict(self, **self._embedder().config)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PoolfoldTextEmbedder:
        """What a pipeline loads."""
        return default_from_dict(cls, data)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """The vector of a query."""
        if not isinstance(text, str):
            raise InputError(
                f"PoolfoldTextEmbedder got a {type(text).__name__}; expected a str. Give documents to "
                "PoolfoldDocumentEmbedder."
            )
        return {"embedding": self._embedder().query(text)}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, text)


@component
class PoolfoldDocumentEmbedder(_Component):
    """An artifact as the embedder of documents, behind the checkpoint's prompt for them; saved as the other one is."""

    def __init__(
        self,
        artifact: str | Path,
        *,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
        **options: Unpack[Options],
    ) -> None:
        """Name the artifact.

        Args:
            artifact: its directory, or hub id.
            meta_fields_to_embed: whose values stand before a document's content.
            embedding_separator: what stands between them.
            options: those of `poolfold.load`, and `Options`.
        """
        _Component.__init__(self, artifact, **options)
        self._fields, self._separator = list(meta_fields_to_embed), embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline saves."""
        own = {"meta_fields_to_embed": self._fields, "embedding_separator": self._separator}
        return default_to_dict(self, **own, **self._embedder().config)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PoolfoldDocumentEmbedder:
        """What a pipeline loads."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """The same documents, with vectors."""
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise InputError(
                f"PoolfoldDocumentEmbedder got a {type(documents).__name__}; expected a list of Documents. Give a text "
                "to PoolfoldTextEmbedder."
            )
        vectors = rows(self._embedder().documents([self._text(document) for document in documents]))
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        meta = [str(document.meta[name]) for name in self._fields if document.meta.get(name) is not None]
        return self._separator.join([*meta, document.content or ""])
