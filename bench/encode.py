"""Texts to vectors, tokenising included: our `encode` and sentence-transformers', taking turns. No goal rests on it.

The texts are as many and about as long as the ragged batch's rows, of whole words of the model's own vocabulary, and
both sides encode them as one batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from bench.batches import ROWS, USUAL
from bench.models import Model
from bench.results import EncodeResult
from bench.systems import Entry, name
from bench.turns import STRATEGIES
from exporter.measure.interleave import measure
from exporter.measure.systems import System
from exporter.measure.workloads import Workload, ragged_lengths
from exporter.spec.model import ModelSpec

_LIBRARY = "sentence-transformers"
_LOADERS = "bench.load_texts"
_SPECIAL = 2
_SECONDS_SHARE = 0.2
_SEED = 0


def texts(spec: ModelSpec) -> list[str]:
    """ROWS texts of log-normal lengths, about half of USUAL tokens on average, special tokens included."""
    vocabulary = json.loads(spec.tokenizer_json)["model"]["vocab"]
    words = sorted(token for token in vocabulary if token.isascii() and token.isalpha() and len(token) > 1)
    rng = np.random.default_rng(_SEED)
    lengths = ragged_lengths(rng, ROWS, USUAL) - _SPECIAL
    return [" ".join(rng.choice(words, size=max(1, length))) for length in lengths]


def measure_encode(
    model: Model, spec: ModelSpec, ours: Iterable[Entry], rows: Workload, threads: int
) -> tuple[EncodeResult, ...]:
    """Time both on the texts.

    Args:
        model: the checkpoint, as sentence-transformers loads it.
        spec: the same, as read.
        ours: our entries that can run here.
        rows: a workload of ROWS rows; workers are sent it, and encode the texts.
        threads: of every system.

    Raises:
        CheckFailed: a system's process died or hung.
    """
    written = texts(spec)
    given = {"texts": written, "batch_size": len(written)}
    systems = [
        System(
            name=name(_LIBRARY, strategy),
            strategy=strategy,
            dtype="fp32",
            runtime="pytorch",
            load=f"{_LOADERS}:load_sentence_transformers",
            arguments={
                "folder": str(model.checkpoint),
                "strategy": strategy,
                "texts": written,
                "batch_size": len(written),
            },
            baseline=name(_LIBRARY, strategy),
        )
        for strategy in STRATEGIES
    ]
    systems += [
        System(
            name=name(entry.label, strategy),
            strategy=strategy,
            dtype=entry.dtype,
            runtime=entry.runtime,
            load=f"{_LOADERS}:load_ours",
            arguments={**entry.arguments, **given},
            baseline=name(_LIBRARY, strategy),
        )
        for entry in ours
        for strategy in entry.strategies
    ]
    report = measure(
        systems,
        [rows],
        threads=threads,
        budget_s=model.seconds * _SECONDS_SHARE,
        progress=lambda done, total, what: None,
        leave_out=False,
    )
    return tuple(
        EncodeResult(
            label=system.name.removesuffix(f", {system.strategy}"),
            strategy=system.strategy,
            windows_ms=tuple(round(ms, 4) for ms in timing.windows_ms),
            latency_ms=timing.latency_ms,
            speedup=timing.speedup,
        )
        for system, timing in zip(systems, report.timings, strict=True)
    )
