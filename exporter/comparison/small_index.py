"""What an index of smaller vectors costs: retrieval with documents and queries in fewer bits.

Source: sentence-transformers' quantised search: rank by the small vectors, then the best again by the float32 query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.quality import Matrix, Rows, blocks, nearest, retrieval_quality, unit_rows
from exporter.comparison.resampling import DRAWS, Interval, interval, resample
from exporter.comparison.tasks import Retrieval
from poolfold.encoder import Ranges
from poolfold.encoder.small_vectors import small_vectors

RESCORED = 100
"""Documents of a query that are ranked again."""
_PRECISIONS = ("int8", "binary")


@dataclass(frozen=True)
class SmallIndex:
    """Retrieval with vectors of a precision.

    rescored: whether the best RESCORED documents of a query were ranked again by its float32 vector.
    value: of the metric that decides.
    against: less float32's, with the interval of the difference.
    bytes: of a document's vector.
    """

    precision: str
    rescored: bool
    value: Interval
    against: Interval
    bytes: int


def small_indexes(
    task: Retrieval, vectors: Matrix, ranges: Ranges | None, metric: str, exact: npt.NDArray[np.float64]
) -> tuple[SmallIndex, ...]:
    """Each precision, as it is and rescored.

    Args:
        task: the data.
        vectors: of queries and documents, float32 [texts, dim].
        ranges: of the artifact; None where it has none, and then no int8.
        metric: that decides.
        exact: the metric of the float32 vectors, as `resample` gives it.
    """
    found = []
    count, (_, dim) = len(task.queries), vectors.shape
    for precision in _PRECISIONS[ranges is None :]:
        form = small_vectors(precision, None, dim=dim, normalized=False, ranges=ranges)
        small = form.of(vectors)
        # Of signs, the cosine ranks as Hamming's distance does.
        rows = unit_rows(small if precision == "int8" else np.where(vectors > 0, np.float32(1), np.float32(-1)))
        queries, documents = rows[:count], rows[count:]
        for rescored in (False, True):
            by = unit_rows(vectors[:count]) if rescored else None
            of = {precision: retrieval_quality(task, _similar(queries, documents, by))}
            drawn = resample(of, metric, count=DRAWS)[precision]
            against = interval(drawn - exact, count)
            found.append(SmallIndex(precision, rescored, interval(drawn, count), against, small[0].nbytes))
    return tuple(found)


def _similar(queries: Rows, documents: Rows, again: Rows | None) -> Iterator[tuple[int, Rows]]:
    """Similarities of a few queries at a time with all documents.

    again: the queries' float32 rows; by them the best documents are ranked again, above all others. None ranks once.
    """
    for start, similar in blocks(queries, documents):
        if again is not None:
            best = nearest(similar, RESCORED)
            anew = np.take_along_axis(again[start : start + len(similar)] @ documents.T, best, axis=1)
            np.put_along_axis(similar, best, anew + 4, axis=1)  # a cosine is at most 1
        yield start, similar
