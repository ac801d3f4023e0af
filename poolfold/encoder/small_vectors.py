"""Make vectors smaller: fewer values, and fewer bits of each.

The bits are those of sentence-transformers' `quantize_embeddings`, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, InputError

_DTYPES = {"float32": np.float32, "int8": np.int8, "uint8": np.uint8, "binary": np.int8, "ubinary": np.uint8}
PRECISIONS = tuple(_DTYPES)
"""Of a value: 32 bits; 8 between the lowest and the highest; 1, its sign, eight in a byte."""
_STEPS = 255
_DEVIATIONS = 4
_ROWS = 3


@dataclass(frozen=True, eq=False)
class Ranges:
    """Between which the values of a strategy's vectors lie, by the texts that the artifact was validated on.

    lowest, highest: float32 [dim]: four standard deviations from the mean, and further where a value was. The extremes
        of few texts are too narrow: of other texts, 3.5 % of MiniLM's values lay beyond those of 84.
    lengths: float32 [dim], the mean length of the first 1, 2, ... dim values.
    """

    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.float32]

    @classmethod
    def of(cls, vectors: npt.NDArray[np.float32]) -> Ranges:
        """Those of vectors [texts, dim], one text or more."""
        lengths = np.sqrt(np.cumsum(np.square(vectors, dtype=np.float64), axis=1)).mean(axis=0)
        mean, reach = vectors.mean(axis=0), _DEVIATIONS * vectors.std(axis=0)
        lowest, highest = np.minimum(vectors.min(axis=0), mean - reach), np.maximum(vectors.max(axis=0), mean + reach)
        return cls(lowest, highest, lengths.astype(np.float32))

    @classmethod
    def from_bytes(cls, data: bytes, dim: int, where: str) -> Ranges:
        """What `to_bytes` gave.

        Raises:
            ArtifactError: the size is another than that of `dim` values.
        """
        if len(data) != 4 * _ROWS * dim:
            raise ArtifactError(
                f"{where} has {len(data)} bytes; expected float32 [{_ROWS}, {dim}]. Export the model again."
            )
        return cls(*np.frombuffer(data, "<f4").reshape(_ROWS, dim))

    def to_bytes(self) -> bytes:
        """float32 [3, dim], little-endian: lowest, highest, lengths."""
        return np.stack([self.lowest, self.highest, self.lengths]).astype("<f4").tobytes()

    def of_first(self, count: int, *, unit: bool) -> npt.NDArray[np.float32]:
        """Lowest and highest of the first `count` values, float32 [2, count]; `unit`: once they have unit length."""
        ranges = np.stack([self.lowest[:count], self.highest[:count]])
        length = self.lengths[count - 1]
        return ranges / length if unit and length > 0 else ranges


@dataclass(frozen=True, eq=False)
class SmallVectors:
    """How vectors are made smaller.

    dim: values of a vector as the model gives it.
    dimensions: of which so many are kept, from the first; None for all.
    unit: whether what is kept is brought to unit length.
    ranges: float32 [2, dimensions], lowest and highest; None where the precision needs none.
    """

    dim: int
    precision: str = "float32"
    dimensions: int | None = None
    unit: bool = False
    ranges: npt.NDArray[np.float32] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `of` gives."""
        return np.dtype(_DTYPES[self.precision])

    @property
    def width(self) -> int:
        """Values of a row of what `of` gives."""
        kept = self.dimensions or self.dim
        return -(-kept // 8) if self.precision.endswith("binary") else kept

    def cut(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The values that are kept, as they are: float32 [rows, dim] -> [rows, dimensions]."""
        return vectors[:, : self.dimensions]

    def of(self, cut: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """What `cut` gave, none of it zeros -> `dtype` [rows, `width`]."""
        if self.unit:
            cut = cut / np.linalg.norm(cut, axis=1, keepdims=True).astype(np.float32)
        if self.precision == "float32":
            return cut
        if self.ranges is None:
            bits = np.packbits(cut > 0, axis=-1)
            return (bits if self.precision == "ubinary" else bits - 128).astype(self.dtype, copy=False)
        lowest = self.ranges[0]
        step = (self.ranges[1] - lowest) / _STEPS
        steps: npt.NDArray[np.float32] = np.clip(
            np.floor((cut - lowest) / np.where(step == 0, np.float32(1), step)), 0, _STEPS
        )
        return (steps if self.precision == "uint8" else steps - 128).astype(self.dtype)


def small_vectors(
    precision: str | None = None,
    dimensions: int | None = None,
    *,
    dim: int,
    normalized: bool,
    ranges: Ranges | None,
    truncate_dim: int | None = None,
    normalize: bool = False,
) -> SmallVectors:
    """What a caller asked for of vectors of `dim` values.

    Args:
        precision: one of PRECISIONS; None for float32.
        dimensions: values to keep; None keeps all. What is kept of unit vectors has unit length again.
        dim: values of a vector.
        normalized: whether vectors have unit length.
        ranges: of the artifact; None where it has none.
        truncate_dim: values to keep as they are; more than there are keeps all, as in sentence-transformers.
        normalize: whether what is kept is brought to unit length, whatever the model gives.

    Raises:
        InputError: there is no such precision, there are not so many values, or the precision needs ranges.
    """
    precision = "float32" if precision is None else precision
    if precision not in PRECISIONS:
        raise InputError(f"Precision {precision!r} is not supported; expected one of {', '.join(PRECISIONS)}.")
    if dimensions is not None and (not _is_whole(dimensions) or dimensions > dim):
        raise InputError(f"dimensions is {dimensions!r}; expected 1 to {dim}, the values of a vector, or None for all.")
    if truncate_dim is not None and not _is_whole(truncate_dim):
        raise InputError(f"truncate_dim is {truncate_dim!r}; expected values to keep, 1 or more, or None for all.")
    if dimensions is not None and truncate_dim is not None:
        raise InputError(
            f"got dimensions {dimensions} and truncate_dim {truncate_dim}. Leave one out: with dimensions, what is "
            "kept of unit vectors has unit length again; with truncate_dim it stays as it is."
        )
    kept = min(dim, int(dimensions or truncate_dim or dim))
    shorter, steps = kept < dim, precision.endswith("int8")
    if steps and ranges is None:
        raise InputError(
            f"precision {precision} needs the ranges of the values, and this artifact has none: it was exported before "
            "0.7. Export the model again, or take binary or ubinary."
        )
    has_unit_length = normalized and not shorter
    unit = (normalize or (normalized and dimensions is not None)) and not has_unit_length
    return SmallVectors(
        dim,
        precision,
        kept if shorter else None,
        unit,
        ranges.of_first(kept, unit=unit) if steps and ranges is not None else None,
    )


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) >= 1
