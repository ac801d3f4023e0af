"""What a user's data asks of vectors: pairs with scores, retrieval, triplets, labelled texts, or texts alone.

A task's `parts` are what must be embedded, in the order in which `quality` takes the vectors. Its units are what is
drawn again by a bootstrap: pairs, queries, triplets or texts. `groups` name the language, domain or the like of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Groups = Mapping[str, tuple[str, ...]]
"""Column -> its value for each unit."""

QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names of prompts, as sentence-transformers' `encode_query` and `encode_document` look for them."""


class Part(NamedTuple):
    """Texts to embed, and the names of prompts of which the first that a checkpoint has is put before them."""

    texts: tuple[str, ...]
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts, each with a score of how alike they are."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
    groups: Groups = field(default_factory=dict)

    @property
    def units(self) -> tuple[str, ...]:
        """The texts of each pair, as one."""
        return tuple(f"{a} {b}" for a, b in zip(self.first, self.second, strict=True))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The first text of every pair, then the second."""
        return Part(self.first), Part(self.second)


@dataclass(frozen=True)
class Retrieval:
    """Queries, documents, and which documents answer a query: of a folder in BEIR's layout, or of pairs that belong.

    relevant: query -> document -> grade, 1 or more; for every query.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    groups: Groups = field(default_factory=dict)

    @property
    def units(self) -> tuple[str, ...]:
        """The queries."""
        return tuple(self.queries.values())

    @property
    def parts(self) -> tuple[Part, ...]:
        """Queries, then documents."""
        return (
            Part(tuple(self.queries.values()), QUERY_PROMPTS),
            Part(tuple(self.documents.values()), DOCUMENT_PROMPTS),
        )


@dataclass(frozen=True)
class Triplets:
    """Texts, each with one that must lie nearer to it than another."""

    anchors: tuple[str, ...]
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    groups: Groups = field(default_factory=dict)

    @property
    def units(self) -> tuple[str, ...]:
        """The anchors."""
        return self.anchors

    @property
    def parts(self) -> tuple[Part, ...]:
        """Anchors, positives, negatives."""
        return (
            Part(self.anchors, QUERY_PROMPTS),
            Part(self.positives, DOCUMENT_PROMPTS),
            Part(self.negatives, DOCUMENT_PROMPTS),
        )


@dataclass(frozen=True)
class Labelled:
    """Texts, each with a class."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    groups: Groups = field(default_factory=dict)

    @property
    def units(self) -> tuple[str, ...]:
        """The texts."""
        return self.texts

    @property
    def parts(self) -> tuple[Part, ...]:
        """The texts."""
        return (Part(self.texts),)


@dataclass(frozen=True)
class Texts:
    """Texts and nothing else."""

    texts: tuple[str, ...]
    groups: Groups = field(default_factory=dict)

    @property
    def units(self) -> tuple[str, ...]:
        """The texts."""
        return self.texts

    @property
    def parts(self) -> tuple[Part, ...]:
        """The texts, then the first half of each, then the second: halves of one text mean alike without a label."""
        halves = [_halves(text) for text in self.texts]
        return Part(self.texts), Part(tuple(a for a, _ in halves)), Part(tuple(b for _, b in halves))


Task = Pairs | Retrieval | Triplets | Labelled | Texts

UNITS = {
    Pairs: ("pair", "pairs"),
    Retrieval: ("query", "queries"),
    Triplets: ("triplet", "triplets"),
    Labelled: ("text", "texts"),
    Texts: ("text", "texts"),
}
"""What a task's units are called, one and several."""


def counted(number: int, unit: tuple[str, str], kind: str = "") -> str:
    """`1 pair`, `1,200 more pairs`."""
    return f"{number:,} {kind}{unit[number != 1]}"


def _halves(text: str) -> tuple[str, str]:
    """Cut at the space nearest the middle, or at the middle where there is none; one character stays whole, twice."""
    middle = len(text) // 2
    spaces = [place for place, character in enumerate(text) if character.isspace() and 0 < place < len(text) - 1]
    cut = min(spaces, key=lambda place: abs(place - middle), default=middle)
    first, second = text[:cut].strip(), text[cut:].strip()
    return (first, second) if first and second else (text, text)
