"""What candidates take to check, beside the reference's run of the same texts. Known before anything is made.

Imports no large library: the process that starts an export asks, since only it knows every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from exporter.spec.choices import target_dtypes
from exporter.spec.model import DType
from poolfold.sessions.targets import Runs, find_target

_FORMS = 2
"""Plain and padding-free. Those for engines run on a GPU, where they take no time to speak of."""
_RANGES = 1.5


class Effort(NamedTuple):
    """Of the candidates that an export will have.

    fp32, fp16: one form of a strategy's graph of that precision, on every target that runs it, and its rehearsal; what
        int8 takes stands with fp32, as it has the same forms.
    once: the look at ranges.
    """

    fp32: float
    fp16: float
    once: float

    def of(self, strategies: int, *, one_form: bool) -> float:
        """Of an export of so many strategies; `one_form`: one form of an fp32 graph is to run every batch."""
        return strategies * ((1 if one_form else _FORMS) * self.fp32 + _FORMS * self.fp16) + self.once


def expected_effort(targets: Sequence[str], dtypes: Sequence[DType]) -> Effort:
    """Of an export to these targets in these precisions, whatever the model."""
    runs = [
        *dict.fromkeys(dtype.of_graph for dtype in dtypes if dtype.of_graph.runs_everywhere),
        *(
            dtype
            for name, share in target_dtypes(targets, dtypes).items()
            for dtype in share
            if find_target(name).runs is Runs.COMPILED or dtype is DType.INT8
        ),
    ]
    of = {graph: sum(effort(d, rehearsed=False) for d in runs if d.of_graph == graph) for graph in DType}
    plain = of[DType.FP32] + of[DType.INT8]
    if of[DType.INT8] and any(find_target(name).rounds_activations for name in targets):
        plain += effort(DType.INT8, rehearsed=True) / _FORMS
    if not of[DType.FP16]:
        return Effort(plain, 0, 0)
    return Effort(plain, of[DType.FP16] + effort(DType.FP16, rehearsed=True) / _FORMS, _RANGES)


def effort(dtype: str, *, rehearsed: bool) -> float:
    """Of one candidate. fp16 on a CPU is fp32 between casts, and its rehearsal has a rounding behind each node."""
    return 2.5 if rehearsed else 1.5 if dtype == DType.FP16 else 1.0
