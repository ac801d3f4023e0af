"""The dimensions of a value: each a number, a symbol, or None where it is unknown.

The symbols `batch` and `seq` are the dimensions of the graph's inputs. Exporters and shape inference annotate every
value; the passes read these annotations and infer no shape themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import onnx_ir as ir

BATCH = "batch"
SEQ = "seq"

Dim = int | str | None
Dims = tuple[Dim, ...]

# A table of positions is sliced to min(rows, seq) rows. Where seq > rows the graph fails elsewhere, so this dimension
# equals seq. Two exceptions: a table of one row, which is broadcast, and a value with a batch axis: truncating texts
# does not make the graph fail.
_CUT_TABLE = re.compile(r"Min\((?:(?!1,)\d+, ?seq|seq, ?(?!1\))\d+)\)")

_PRODUCT = re.compile(r"\w+(?:\*\w+)*")


def dims_of(value: ir.Value | None) -> Dims | None:
    """The dimensions of `value`; None where even the rank is unknown."""
    if value is None or value.shape is None:
        return None
    dims = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return dims if BATCH in dims else tuple(SEQ if _CUT_TABLE.fullmatch(str(d)) else d for d in dims)


def aligned(dims: Dims, rank: int) -> Dims:
    """`dims` broadcast to `rank`: ones are put in front."""
    return (1,) * (rank - len(dims)) + dims


def same_size(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Whether two lists of dimensions certainly have the same product; `2*batch` counts as two factors."""
    if None in (*a, *b):
        return False
    factors = [[f for dim in dims for f in _factors(str(dim))] for dims in (a, b)]
    symbols = [sorted(f for f in part if not f.isdigit()) for part in factors]
    numbers = [math.prod(int(f) for f in part if f.isdigit()) for part in factors]
    return symbols[0] == symbols[1] and numbers[0] == numbers[1]


def _factors(dim: str) -> list[str]:
    return dim.split("*") if _PRODUCT.fullmatch(dim) else [dim]


def reshape_operand(source: Dims, target: Dims) -> list[int] | None:
    """The constant target of a Reshape from `source` to `target`; None where no constant expresses it.

    In a Reshape, 0 copies the dimension at the same index, and -1, which may occur once, stands for the remaining size.
    """
    operand = [dim if isinstance(dim, int) else 0 if _copies(source, i, dim) else -1 for i, dim in enumerate(target)]
    return operand if operand.count(-1) <= 1 and all(d != 0 for d in target) else None


def _copies(source: Dims, index: int, dim: Dim) -> bool:
    return index < len(source) and isinstance(dim, str) and source[index] == dim


def has_token_axes(value: ir.Value | None) -> bool:
    """Whether a value is [batch, seq, ...]."""
    dims = dims_of(value)
    return dims is not None and dims[:2] == (BATCH, SEQ)
