"""What candidates take to check, beside the reference's run of the same texts. Known before anything is made.

Imports no large library: the process that starts an export asks, since only it knows every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from exporter.spec.choices import target_dtypes
from exporter.spec.model import DType
from poolfold.sessions.targets import Rounding, Runs, find_target

_FORMS = 2
"""Plain and padding-free. Those for engines run on a GPU, where they take no time to speak of."""
_RANGES = 1.5


class Effort(NamedTuple):
    """Of the candidates that an export will have.

    fp32, fp16: one form of a strategy's graph of that precision, on every target that runs it, and its rehearsal; what
        8 bits take stands with fp32, as int8 has the same forms.
    once: the look at ranges, and the graph for other programs.
    """

    fp32: float
    fp16: float
    once: float

    def of(self, strategies: int, *, one_form: bool) -> float:
        """Of an export of so many strategies; `one_form`: one form of an fp32 graph is to run every batch."""
        return strategies * ((1 if one_form else _FORMS) * self.fp32 + _FORMS * self.fp16) + self.once


def expected_effort(targets: Sequence[str], dtypes: Sequence[DType], *, portable: bool = False) -> Effort:
    """Of an export to these targets in these precisions, whatever the model; `portable`: and for other programs."""
    shared = [(find_target(name), dtype) for name, share in target_dtypes(targets, dtypes).items() for dtype in share]
    runs = [
        *dict.fromkeys(dtype.of_graph for dtype in dtypes if dtype.of_graph.runs_everywhere),
        *(
            dtype
            for target, dtype in shared
            if target.runs is Runs.COMPILED or (dtype.in_8_bits and not target.has_engine_files)
        ),
    ]
    of = {graph: sum(effort(d, rehearsed=False) for d in runs if d.of_graph == graph) for graph in DType}
    plain = of[DType.FP32] + of[DType.INT8]
    rehearsed = [d for target, d in shared if d.in_8_bits and target.rounding is not Rounding.ROWS]
    plain += sum(effort(dtype, rehearsed=True) for dtype in rehearsed) / _FORMS
    half = of[DType.FP16] + effort(DType.FP16, rehearsed=True) / _FORMS if of[DType.FP16] else 0
    ranges = bool(half) or any(d.in_8_bits and target.has_engine_files for target, d in shared)
    others = effort(DType.FP32, rehearsed=False) if portable else 0
    return Effort(plain, half, (_RANGES if ranges else 0) + others)


def effort(dtype: str, *, rehearsed: bool) -> float:
    """Of one candidate. fp16 on a CPU is fp32 between casts, and its rehearsal has a rounding behind each node."""
    return 2.5 if rehearsed else 1.5 if dtype == DType.FP16 else 1.0
