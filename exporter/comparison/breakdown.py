"""Quality by language, domain and length: a strategy may win on one part of the data and lose on another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.quality import CORRELATIONS, Quality
from exporter.comparison.resampling import FEWER_DRAWS, Interval, interval, resample
from exporter.comparison.tasks import Task
from poolfold.errors import InputError

_FEWEST = 10
"""Units below which a part is not measured by itself."""
_PARTS = 3


@dataclass(frozen=True)
class PartOf:
    """One part of the data.

    by: what divides the data: a column, or `words`.
    name: the part's: the column's value, or the words of its texts.
    units: how many it has.
    values: entry -> the metric on it, with its interval.
    """

    by: str
    name: str
    units: int
    values: Mapping[str, Interval]


def break_down(task: Task, qualities: Mapping[str, Quality], metric: str) -> tuple[PartOf, ...]:
    """The metric on each part of the data that is large enough and on which it is defined, for each entry."""
    parts = []
    if not qualities:
        return ()
    for by, name, units in _parts(task):
        drawn = resample(qualities, metric, units, FEWER_DRAWS)
        try:
            values = {
                entry: interval(each, len(units), mean=metric not in CORRELATIONS) for entry, each in drawn.items()
            }
            parts.append(PartOf(by, name, len(units), values))
        except InputError:  # a language whose pairs all have one score
            continue
    return tuple(parts)


def _parts(task: Task) -> Iterator[tuple[str, str, npt.NDArray[np.int64]]]:
    for column, values in task.groups.items():
        named = np.array(values, dtype=object)
        groups = [(str(name), np.flatnonzero(named == name)) for name in dict.fromkeys(values)]
        yield from ((column, name, units) for name, units in groups if len(groups) > 1 and len(units) >= _FEWEST)
    words = np.array([len(text.split()) for text in task.units])
    order = np.argsort(words, kind="stable")
    thirds = np.array_split(order, _PARTS)
    if len(order) >= _PARTS * _FEWEST and words[thirds[0]].max() < words[thirds[-1]].min():
        yield from (("words", f"{words[part].min()} to {words[part].max()}", np.sort(part)) for part in thirds)
