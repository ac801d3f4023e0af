"""What is made and timed of an embedder: its export, PyTorch in a precision, the artifact; and a report's times."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from bench.embedders.checkpoints import Embedder
from bench.export_cost import run
from bench.exports import why_not
from bench.systems import OURS
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System
from poolfold.manifest import read_manifest

_TORCH = {"fp32": "float32", "bf16": "bfloat16"}


@cache
def targets_here() -> tuple[tuple[str, str], ...]:
    """Targets with their precisions, as far as this CPU executes in them."""
    why = {pair: why_not(*pair) for pair in OURS}
    for reason in filter(None, why.values()):
        print(f"Left out: {reason}", file=sys.stderr, flush=True)
    return tuple(pair for pair in OURS if not why[pair])


def run_export(name: str, checkpoint: Path, artifact: Path, options: Sequence[str]) -> dict[str, Any]:
    """An export as a user runs it: what it cost, and how long texts it proved."""
    command = ["export", str(checkpoint), "-o", str(artifact), "--force", *options]
    print(f"{name}: poolfold {' '.join(command)}", file=sys.stderr, flush=True)
    log = artifact.with_suffix(".log")
    cost = run([sys.executable, "-m", "poolfold", *command], {**os.environ, "HF_HUB_OFFLINE": "1"}, log)
    told = ["poolfold", *(Path(word).name for word in command)]
    return {**asdict(cost), "command": told, "validated_up_to": read_manifest(artifact).validated_up_to}


def pytorch(embedder: Embedder, checkpoint: Path, dtype: str) -> System:
    """What the others in its precision are compared with."""
    name = f"PyTorch {dtype}"
    arguments: dict[str, object] = {"folder": str(checkpoint), "pooling": embedder.pooling, "dtype": _TORCH[dtype]}
    return System(name, embedder.pooling, dtype, "pytorch", "bench.embedders.load:pytorch", arguments, name)


def ours(
    embedder: Embedder,
    artifact: Path,
    target: str,
    dtype: str,
    load: str = "exporter.measure.load_artifact:load",
    name: str = "",
    baseline: str = "",
) -> System:
    """The artifact; by default under its target's name, compared with PyTorch in its precision."""
    arguments: dict[str, object] = {
        "directory": str(artifact),
        "strategy": embedder.pooling,
        "dtype": dtype,
        "target": target,
    }
    name = name or f"poolfold {target} {dtype}"
    return System(name, embedder.pooling, dtype, target, load, arguments, baseline or f"PyTorch {dtype}")


def times_of(report: LatencyReport) -> dict[str, dict[str, Any]]:
    """System -> workload -> milliseconds and ratio to its baseline, quartiles of the rounds."""
    found: dict[str, dict[str, Any]] = {}
    for timing in report.timings:
        found.setdefault(timing.system, {})[timing.workload] = {
            "ms": asdict(timing.latency_ms),
            "faster": asdict(timing.speedup),
            "disturbed": timing.disturbed,
            "windows_ms": [round(ms, 3) for ms in timing.windows_ms],
        }
    return found


def size_of(folder: Path, pattern: str) -> int:
    """Bytes of the files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())
