"""What candidates take to check, beside the reference's run of the same texts. Known before anything is made.

Imports no large library: the process that starts an export asks, since only it knows every target.
"""

from __future__ import annotations

from exporter.spec.choices import target_dtypes
from exporter.spec.model import DType
from exporter.spec.options import ExportOptions
from poolfold.sessions.targets import Runs, find_target

_FORMS = 2
"""Plain and padding-free. Those for engines run on a GPU, where they take no time to speak of."""
_RANGES = 1.5


def expected_effort(options: ExportOptions) -> tuple[float, float]:
    """Of the candidates that an export will have: for each strategy, and once (the look at ranges)."""
    graphs = dict.fromkeys(dtype.of_graph for dtype in options.dtypes)
    compiled = [
        dtype
        for name, share in target_dtypes(options.targets, options.dtypes).items()
        if find_target(name).runs is Runs.COMPILED
        for dtype in share
    ]
    forms = _FORMS * sum(effort(dtype, rehearsed=False) for dtype in (*graphs, *compiled))
    is_fp16 = DType.FP16 in graphs
    return forms + is_fp16 * effort(DType.FP16, rehearsed=True), is_fp16 * _RANGES


def effort(dtype: str, *, rehearsed: bool) -> float:
    """Of one candidate. fp16 on a CPU is fp32 between casts, and its rehearsal has a rounding behind each node."""
    return 2.5 if rehearsed else 1.5 if dtype == DType.FP16 else 1.0
