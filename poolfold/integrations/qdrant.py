"""Qdrant: `PoolfoldVectors("DIR")` makes a collection, its points and its queries. Needs qdrant-client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Self, Unpack
from uuid import uuid4

from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

from poolfold.errors import InputError
from poolfold.integrations.embedder import Options, open_embedder, rows

_KEY = "poolfold"
"""Of a collection's metadata: what opened the artifact."""
_AT_ONCE = 1024
"""Texts that are embedded together; more would only take memory."""
_DISTANCES = {
    "cosine": Distance.COSINE,
    "dot": Distance.DOT,
    "euclidean": Distance.EUCLID,
    "manhattan": Distance.MANHATTAN,
}


class PoolfoldVectors:
    """An artifact for collections of Qdrant; queries and documents get the checkpoint's prompts."""

    def __init__(self, artifact: str | Path, **options: Unpack[Options]) -> None:
        """Open the artifact; options: those of `poolfold.load`, and `Options`."""
        self._embedder = open_embedder(artifact, **options)

    @classmethod
    def of_collection(cls, client: QdrantClient, name: str) -> Self:
        """The artifact that a collection was made with.

        Raises:
            InputError: it was made without `create_collection`.
            ArtifactError: the artifact is not where it was, or is another one.
        """
        metadata = client.get_collection(name).config.metadata or {}
        if _KEY not in metadata:
            raise InputError(f"The collection {name} does not say which artifact made it. Pass the artifact yourself.")
        return cls(**metadata[_KEY])

    @property
    def vectors_config(self) -> VectorParams:
        """Length and distance of the vectors, for `create_collection` of a client."""
        distance = _DISTANCES[self._embedder.encoder.similarity_fn_name]
        return VectorParams(size=self._embedder.dim, distance=distance)

    @property
    def metadata(self) -> dict[str, Any]:
        """What `of_collection` reads again."""
        return {_KEY: dict(self._embedder.config)}

    def create_collection(self, client: QdrantClient, name: str, **options: Any) -> None:
        """Make a collection for vectors of this artifact; options: those of the client."""
        client.create_collection(name, vectors_config=self.vectors_config, metadata=self.metadata, **options)

    def points(
        self,
        texts: Iterable[str],
        ids: Iterable[int | str] | None = None,
        payloads: Iterable[Mapping[str, Any]] | None = None,
    ) -> Iterator[PointStruct]:
        """The points of documents, as they are computed, for a client's `upload_points`.

        Args:
            texts: any number of them; about a thousand are held.
            ids: as many; None for new ones.
            payloads: as many; None for `{"text": text}`.

        Raises:
            ValueError: there are fewer or more ids or payloads than texts.
        """
        columns: list[Iterable[Any]] = [
            texts,
            *([] if ids is None else [ids]),
            *([] if payloads is None else [payloads]),
        ]
        read = zip(*columns, strict=True)
        while part := list(islice(read, _AT_ONCE)):
            vectors = rows(self._embedder.documents([row[0] for row in part]))
            for row, vector in zip(part, vectors, strict=True):
                yield PointStruct(
                    id=uuid4().hex if ids is None else row[1],
                    vector=vector,
                    payload={"text": row[0]} if payloads is None else dict(row[-1]),
                )

    def query(self, text: str) -> list[float]:
        """The vector of a question, for a client's `query_points`."""
        return self._embedder.query(text)
