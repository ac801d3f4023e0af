"""What a run leaves behind: strict JSON, from which every table is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.peers.work import Size
from exporter.measure.report import Quartiles


class SystemResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A system: `label` without its strategy, `side` is `ours`, `peer` or `product` (which has no strategy)."""

    name: str
    label: str
    side: str
    runtime: str
    dtype: str
    strategy: str


class WorkloadResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was timed. `useful_flops` by strategy, `product_flops` of the bare product on it; see `work`."""

    name: str
    rows: int
    batches: int
    tokens: int
    real_tokens: int
    rounds: int
    useful_flops: Mapping[str, int]
    product_flops: int


class TimingResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A system on a workload: milliseconds of each round, in order, and their quartiles."""

    system: str
    workload: str
    calls_per_window: int
    windows_ms: tuple[float, ...]
    latency_ms: Quartiles


class MemoryResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Peak resident memory of a fresh process above its imports, in bytes; None where the machine does not tell."""

    label: str
    runtime: str
    dtype: str
    side: str
    strategy: str
    workload: str
    increase_bytes: int | None


class EncodeResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Texts to vectors: milliseconds of each round, and `speedup` over sentence-transformers, round by round."""

    label: str
    strategy: str
    windows_ms: tuple[float, ...]
    latency_ms: Quartiles
    speedup: Quartiles


class ModelResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model's measurement.

    export: the command that made our artifact.
    missing: what could not run, label -> reason.
    encode: empty where texts were not timed.
    seconds: that loading, warming up and timing took.
    load_averages: before and after that.
    """

    name: str
    size: Size
    export: str
    systems: tuple[SystemResult, ...]
    missing: Mapping[str, str]
    workloads: tuple[WorkloadResult, ...]
    timings: tuple[TimingResult, ...]
    memory: tuple[MemoryResult, ...]
    encode: tuple[EncodeResult, ...]
    seconds: float
    load_averages: tuple[float | None, float | None]


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The machine and the versions, as `exporter.host.environment.environment` tells them."""

    python: str
    platform: str
    cpu: str
    cores: int
    logical_cpus: int
    memory_bytes: int
    versions: Mapping[str, str]


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run.

    command: that was run.
    peer_versions: of optimum's environment; empty where it was left out.
    busy: the share of the processors that other programs used before it began.
    pause_s: of quiet before each window.
    """

    command: str
    threads: int
    busy: float
    pause_s: float
    environment: Machine
    peer_versions: Mapping[str, str]
    models: tuple[ModelResult, ...]


def read(path: Path) -> Results | None:
    """The results kept in a file; None where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.is_file() else None


def write(results: Results, path: Path) -> None:
    """Keep results in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
