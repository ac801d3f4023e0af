"""A comparison as scripts read it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporter.comparison.comparison import Comparison
from exporter.comparison.resampling import Interval
from exporter.host.environment import environment


def as_json(comparison: Comparison, model: str, data: str) -> dict[str, Any]:
    """`strategies` in the first precision, which decides; the others under `precisions`; ready for JSON."""
    verdict = comparison.verdict
    return {
        "model": model,
        "data": data,
        "task": type(comparison.task).__name__.lower(),
        "units": len(comparison.task.units),
        "metric": verdict.metric,
        "dtype": comparison.dtype,
        "trained": next((entry.name for entry in comparison.entries if entry.trained), None),
        "strategies": _metrics(comparison.quality[comparison.dtype]),
        "precisions": {
            dtype: {
                "strategies": _metrics(strategies),
                "against_first": {name: asdict(value) for name, value in comparison.precision_cost[dtype].items()},
            }
            for dtype, strategies in comparison.quality.items()
            if dtype != comparison.dtype
        },
        "leads": [asdict(lead) for lead in comparison.leads],
        "parts": [asdict(part) for part in comparison.parts],
        "entries": {
            entry.name: {
                "strategy": entry.strategy,
                "model": entry.model,
                "trained": entry.trained,
                "dimensions": entry.dimensions,
                "artifact": str(entry.artifact),
                "bytes": {dtype: entry.disk_bytes(dtype) for dtype in comparison.quality},
            }
            for entry in comparison.entries
        },
        "cost": None if comparison.cost is None else asdict(comparison.cost),
        "verdict": {
            "recommended": verdict.recommended,
            "significant": verdict.significant,
            "best": verdict.best,
            "metric": verdict.metric,
            "reasons": list(verdict.reasons),
            "next": next_command(comparison),
        },
        "environment": environment(),
    }


def next_command(comparison: Comparison) -> str:
    """The export to run next; of a checkpoint's hub id or folder, as the user or the artifact named it."""
    entry = comparison.entry(comparison.verdict.recommended)
    model = entry.manifest.model
    options = [f"--pooling {entry.strategy}", *(f"--dtype {dtype}" for dtype in comparison.quality)]
    # A folder has no revision, and that of a file is its hash.
    if model.revision is not None and not Path(entry.model).exists():
        options.append(f"--revision {model.revision}")
    if model.dimensions is not None:
        options.append(f"--dimensions {model.dimensions}{'' if model.renormalized else ' --no-renormalize'}")
    return f"poolfold export {shlex.quote(entry.model)} -o DIR {' '.join(options)}"


def _metrics(strategies: Mapping[str, Mapping[str, Interval]]) -> dict[str, dict[str, Any]]:
    return {name: {metric: asdict(value) for metric, value in row.items()} for name, row in strategies.items()}
