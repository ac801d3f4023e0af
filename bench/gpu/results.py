"""What a run leaves behind: strict JSON, from which every table is made. Written anew whenever more is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.peers.results import Machine
from bench.peers.work import Size
from exporter.measure.report import Quartiles


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The GPU: its name, compute capability, memory, driver, and the CUDA that torch was built for."""

    name: str
    capability: str
    memory_bytes: int
    driver: str
    cuda: str


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the card gave in this run: a large matrix product and a large copy, per second."""

    dtype: str
    flops: float
    bytes: float


class SystemResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A system that ran: its smallest row cosine with PyTorch fp32 over all workloads, and its peak of memory."""

    name: str
    label: str
    ours: bool
    runtime: str
    dtype: str
    strategy: str
    smallest_cosine: float
    peak_bytes: int | None


class WorkloadResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was timed; `useful_flops` by strategy, `least_bytes` by precision."""

    name: str
    rows: int
    tokens: int
    real_tokens: int
    useful_flops: Mapping[str, int]
    least_bytes: Mapping[str, int]


class CallsResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Single calls of a system that is alone on the card, in milliseconds."""

    system: str
    workload: str
    calls: int
    p50_ms: float
    p99_ms: float


class TimingResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Interleaved windows: milliseconds of each round, in order, their quartiles, and what that is a second."""

    system: str
    workload: str
    windows_ms: tuple[float, ...]
    latency_ms: Quartiles
    texts_per_s: float
    real_tokens_per_s: float


class ModelResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model's measurement.

    dtype: of the peers.
    artifact: the command that made ours, or the directory that was given.
    tensorrt_rtx: does it load and run our engine on this card: that it runs, or the library's reason why not.
    missing: what did not run, system -> reason.
    timings: empty until the windows are over, or where they failed, and `failed` says why.
    """

    name: str
    dtype: str
    size: Size
    artifact: str
    rates: Rates
    tensorrt_rtx: str
    systems: tuple[SystemResult, ...]
    missing: Mapping[str, str]
    workloads: tuple[WorkloadResult, ...]
    calls: tuple[CallsResult, ...]
    timings: tuple[TimingResult, ...] = ()
    failed: str = ""


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run.

    device: `cuda`; `cpu` is a trial of the bench itself.
    threads: of an operator on the processor, in every system.
    busy: the share of the processors that other programs used before it began.
    pause_s: of quiet before each window.
    unmeasured: models of which nothing was measured, with the reason; that the run has not come to them is one.
    complete: whether it came to its end.
    """

    command: str
    device: str
    card: Card
    environment: Machine
    threads: int
    busy: float
    pause_s: float
    models: tuple[ModelResult, ...]
    unmeasured: Mapping[str, str]
    complete: bool


def read(path: Path) -> Results:
    """The results kept in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def write(results: Results, path: Path) -> None:
    """Keep results in a file, at once: a kill at any moment leaves the old ones or these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    part.replace(path)
