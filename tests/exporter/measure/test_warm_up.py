"""What is left out for want of time, with workers whose calls take a given time and are never made."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from exporter.measure.disturbance import Watched
from exporter.measure.protocol import Ran, Run
from exporter.measure.warm_up import Allowance, warm_up
from exporter.measure.workloads import Batch, Workload
from poolfold.errors import CheckFailed


class Told:
    """In the place of a worker: says how long a call would take, a fixed time and one for each token."""

    def __init__(self, fixed_s: float, per_token_s: float) -> None:
        self.ran: list[int] = []
        self._times = fixed_s, per_token_s

    def run(self, request: Run, limit_s: float) -> Ran:
        fixed_s, per_token_s = self._times
        tokens = sum(batch.input_ids.size for batch in request.batches)
        self.ran.append(tokens)
        return Ran([fixed_s + per_token_s * tokens], {}, None, Watched(1.0, 1.0, 0.0))


def row(tokens: int) -> Workload:
    ones = np.ones((1, tokens), np.int64)
    return Workload(f"1x{tokens}", (Batch(ones, ones),))


def warmed(worker: Any, *tokens: int, **allowed: float) -> tuple[list[str], dict[str, str]]:
    found = warm_up([worker], [row(n) for n in tokens], Allowance(**allowed), 0.1, lambda *_: None)
    return [workload.name for workload in found.workloads], found.left_out


def test_where_reading_the_weights_dominates_more_tokens_leave_nothing_out() -> None:
    """In proportion to its tokens the third would take 384 s."""
    assert warmed(Told(1.0, 0.001), 16, 32, 2048, budget_s=10.0) == (["1x16", "1x32", "1x2048"], {})


def test_what_does_not_fit_is_known_without_running_it() -> None:
    worker = Told(0.0, 0.1)
    kept, left_out = warmed(worker, 16, 32, 2048, budget_s=10.0)
    assert (kept, left_out) == (["1x16", "1x32"], {"1x2048": "needs at least 614 s of a budget of 10 s"})
    assert 2048 not in worker.ran


def test_a_limit_counts_what_the_smaller_ones_take_too() -> None:
    """Of each 3 rounds: 5.1 s, 9.9 s, 19.5 s; the last fits by itself, and not behind the others."""
    until = time.monotonic() + 30.0
    kept, left_out = warmed(Told(0.0, 0.1), 16, 32, 64, budget_s=30.0, until=until)
    assert (kept, list(left_out)) == (["1x16", "1x32"], ["1x64"])
    assert warmed(Told(0.0, 0.1), 16, 32, 64, budget_s=30.0) == (["1x16", "1x32", "1x64"], {})


def test_the_smallest_is_tried_as_long_as_there_is_time() -> None:
    worker = Told(100.0, 0.0)
    assert warmed(worker, 16, budget_s=30.0, until=time.monotonic() + 30.0) == (["1x16"], {})
    with pytest.raises(CheckFailed, match="while the systems were warming up"):
        warmed(worker, 16, budget_s=0.0, until=0.0)
    assert worker.ran == [16]
