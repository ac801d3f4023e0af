"""A comparison as scripts read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from exporter.comparison.comparison import Comparison
from exporter.comparison.resampling import LEVEL, NOT_SETTLED, Interval
from exporter.host.environment import environment


def as_json(comparison: Comparison, model: str, data: str) -> dict[str, Any]:
    """`strategies` in the first precision, which decides; each in the others under `precisions`; ready for JSON."""
    verdict = comparison.verdict
    others = [dtype for dtype in comparison.quality if dtype != comparison.dtype]
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
            name: {
                dtype: _in_precision(comparison, name, dtype) for dtype in others if name in comparison.quality[dtype]
            }
            for name in comparison.quality[comparison.dtype]
        },
        "small_indexes": [asdict(index) for index in comparison.small_indexes],
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
        "no_cost": comparison.no_cost,
        "verdict": {
            **{name: value for name, value in asdict(verdict).items() if name != "reasons"},
            "reasons": list(verdict.reasons),
            "next": comparison.next_command,
        },
        "environment": environment(),
    }


def headline(comparison: Comparison) -> str:
    """What to take, how sure that is, and where it is if it is there already."""
    verdict = comparison.verdict
    entry = comparison.entry(verdict.recommended)
    if verdict.outcome is None:
        take = (
            f"Nothing was decided; {entry.name} stays."
            if verdict.metric is None
            else "Nothing to choose between: one strategy was compared."
        )
    elif verdict.outcome == NOT_SETTLED:
        take = f"Not settled by these data; until it is, take {entry.name}."
    elif verdict.outcome == LEVEL and entry.name != verdict.best:
        take = f"Take {entry.name}: it is level with {verdict.best}, the best here."
    elif verdict.outcome == LEVEL and not verdict.significant:
        take = f"Take {entry.name}: no other is better by more than {verdict.margin:g}."
    else:
        take = f"Take {entry.name}."
    if entry.given:
        take += f" {entry.given} has it already: load it with strategy={entry.strategy!r}."
    return take


def _in_precision(comparison: Comparison, name: str, dtype: str) -> dict[str, Any]:
    """The metrics, and how far the one that decides lies from that in the first precision."""
    against = comparison.precision_cost.get(dtype, {}).get(name)
    metrics = _metrics(comparison.quality[dtype]).get(name, {})
    return metrics | {"against_first": None if against is None else asdict(against)}


def _metrics(strategies: Mapping[str, Mapping[str, Interval]]) -> dict[str, dict[str, Any]]:
    return {name: {metric: asdict(value) for metric, value in row.items()} for name, row in strategies.items()}
