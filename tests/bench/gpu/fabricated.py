"""Results of a run that never was: every window of every system on every workload is known."""

from bench.gpu.batches import WORKLOADS
from bench.gpu.results import CallsResult, Card, ModelResult, Rates, Results, SystemResult, TimingResult, WorkloadResult
from bench.peers.results import Machine
from bench.peers.systems import name
from bench.peers.work import Size
from exporter.measure.report import quartiles

EAGER, COMPILED = "PyTorch eager fp16", "torch.compile fp16"
RTX, ORT = "poolfold tensorrt-rtx fp16", "poolfold onnxruntime cuda fp16"
MIB = 1 << 20


def model(windows, *, labels=(EAGER, COMPILED, RTX, ORT), missing=None, cosines=None, timed=True, failed=""):
    """`windows(label, workload)` gives the milliseconds of each round; one strategy, mean."""
    missing = {name(label, "mean"): reason for label, reason in (missing or {}).items()}
    systems = tuple(
        SystemResult(
            name=name(label, "mean"), label=label, ours=label.startswith("poolfold"), runtime="a runtime",
            dtype="fp16", strategy="mean", smallest_cosine=(cosines or {}).get(label, 0.9999), peak_bytes=300 * MIB,
        )
        for label in labels
        if name(label, "mean") not in missing
    )  # fmt: skip
    return ModelResult(
        name="a model",
        dtype="fp16",
        size=Size(6, 4, 8),
        artifact="poolfold export",
        rates=Rates(dtype="fp16", flops=1e12, bytes=1e9),
        tensorrt_rtx="runs; smallest row cosine 0.999900",
        systems=systems,
        missing=missing,
        workloads=tuple(
            WorkloadResult(
                name=w, rows=32, tokens=4096, real_tokens=2048,
                useful_flops={"mean": 5_000_000_000}, least_bytes={"fp16": 2_000_000, "fp32": 4_000_000},
            )
            for w in WORKLOADS
        ),
        calls=tuple(
            CallsResult(system=s.name, workload=w, calls=200, p50_ms=1.5, p99_ms=2.5)
            for s in systems
            for w in WORKLOADS
        ),
        timings=tuple(timing(s.name, w, windows(s.label, w)) for s in systems for w in WORKLOADS) if timed else (),
        failed=failed,
    )  # fmt: skip


def timing(system, workload, windows):
    latency = quartiles(windows)
    return TimingResult(
        system=system,
        workload=workload,
        windows_ms=tuple(windows),
        latency_ms=latency,
        texts_per_s=32 / latency.median * 1e3,
        real_tokens_per_s=2048 / latency.median * 1e3,
    )


def results(*models, device="cuda", complete=True, unmeasured=None):
    return Results(
        command="python -m bench.gpu",
        device=device,
        card=Card(name="a card", capability="9.0", memory_bytes=80 << 30, driver="a driver", cuda="13.0"),
        environment=Machine(
            python="3.12", platform="Linux", cpu="a processor", cores=16, logical_cpus=32, memory_bytes=1 << 37,
            versions={"torch": "2.11"},
        ),
        threads=16,
        busy=0.01,
        pause_s=0.1,
        models=models,
        unmeasured=unmeasured or {},
        complete=complete,
    )  # fmt: skip
