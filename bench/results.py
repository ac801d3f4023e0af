"""What a run leaves behind, on a processor or on a GPU: strict JSON, from which every table is made.

Fields with a default are left out where they have it: those of a GPU's run are in its file alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.work import Size
from exporter.measure.quartiles import Quartiles


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all of them are."""


class SystemResult(Record, frozen=True):
    """A system: `label` without its strategy, `side` is `ours`, `peer` or `product` (which has no strategy).

    smallest_cosine: of any row of any workload with PyTorch's in fp32, on a GPU.
    """

    name: str
    label: str
    side: str
    runtime: str
    dtype: str
    strategy: str
    smallest_cosine: float | None = None


class WorkloadResult(Record, frozen=True):
    """What is timed, in 0 rounds before it was. `useful_flops` by strategy; see `work`."""

    name: str
    rows: int
    batches: int
    tokens: int
    real_tokens: int
    rounds: int
    useful_flops: Mapping[str, int]
    product_flops: int


class TimingResult(Record, frozen=True):
    """A system on a workload, in turns: milliseconds of each round, their quartiles; on a GPU `p90_ms` of all calls."""

    system: str
    workload: str
    calls_per_window: int
    windows_ms: tuple[float, ...]
    latency_ms: Quartiles
    p90_ms: float | None = None


class MemoryResult(Record, frozen=True):
    """What a system adds to a fresh process or to a GPU at its peak, in bytes; None where the machine does not tell."""

    label: str
    runtime: str
    dtype: str
    side: str
    strategy: str
    workload: str
    increase_bytes: int | None


class EncodeResult(Record, frozen=True):
    """Texts to vectors: milliseconds of each round, and `speedup` over sentence-transformers, round by round."""

    label: str
    strategy: str
    windows_ms: tuple[float, ...]
    latency_ms: Quartiles
    speedup: Quartiles


class ModelResult(Record, frozen=True):
    """A model's measurement.

    export: the command that made our artifact, or the directory that was given.
    missing: what could not run, by label or name -> reason.
    timings: empty until the windows are over, or where they failed, and `failed` says why.
    encode: of runs before `bench.text`, which times texts now; empty since.
    seconds: that loading, warming up and timing took.
    load_averages: before and after that.
    rates: on a GPU: what a large matrix product in `dtype` gave, `flops` a second.
    tensorrt_rtx: does it load and run our engine on this GPU: that it runs, or the library's reason why not.
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
    rates: Mapping[str, Any] = {}
    tensorrt_rtx: str = ""
    failed: str = ""

    def timing(self, system: str, workload: str) -> TimingResult | None:
        """Of a system by its name; None where it was not timed."""
        return next((t for t in self.timings if (t.system, t.workload) == (system, workload)), None)

    def workload(self, name: str) -> WorkloadResult:
        """By its name."""
        return next(w for w in self.workloads if w.name == name)


class Results(Record, frozen=True):
    """A run.

    command: that was run.
    environment: as `exporter.host.environment.environment` tells it.
    peer_versions: of optimum's environment; empty where it was left out.
    busy: the share of the processors that other programs used before it began.
    pause_s: of quiet before each window.
    device: of the GPU's bench: `cuda`, or `cpu`, which is a trial of the bench itself.
    card: the GPU, as `gpu.card.describe` tells it.
    unmeasured: models of which nothing was measured, with the reason; that the run has not come to them is one.
    complete: whether it came to its end.
    """

    command: str
    threads: int
    busy: float
    pause_s: float
    environment: Mapping[str, Any]
    peer_versions: Mapping[str, str]
    models: tuple[ModelResult, ...]
    device: str = ""
    card: Mapping[str, Any] = {}
    unmeasured: Mapping[str, str] = {}
    complete: bool = True


def read(path: Path) -> Results | None:
    """The results kept in a file; None where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.is_file() else None


def write(results: Results, path: Path) -> None:
    """Keep results in a file, at once: a kill at any moment leaves the old ones or these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    part.replace(path)
