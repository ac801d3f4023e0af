"""Results of a run that never was: every window of every system on every workload is known."""

from bench.peers import goals
from bench.peers.exports import STRATEGIES
from bench.peers.inputs import WORKLOADS
from bench.peers.results import (
    EncodeResult,
    Machine,
    MemoryResult,
    ModelResult,
    Results,
    SystemResult,
    TimingResult,
    WorkloadResult,
)
from bench.peers.systems import OURS, name, our_label
from bench.peers.work import Size
from exporter.measure.report import quartiles

PEERS = (
    ("PyTorch eager", "pytorch", "fp32"),
    ("optimum onnxruntime fp32", "onnxruntime", "fp32"),
    ("optimum openvino fp32", "openvino", "fp32"),
    ("optimum openvino bf16", "openvino", "bf16"),
)
MIB = 1 << 20


def model(windows, *, layers=6, missing=None, memory=(), peers=PEERS, ours=OURS):
    """`windows(label, strategy, workload)` gives the milliseconds of each round; `missing` is label -> reason."""
    missing = missing or {}
    entries = [(label, "peer", runtime, dtype) for label, runtime, dtype in peers]
    entries += [(our_label(target, dtype), "ours", target, dtype) for target, dtype in ours]
    systems = [
        SystemResult(name=name(label, s), label=label, side=side, runtime=runtime, dtype=dtype, strategy=s)
        for label, side, runtime, dtype in entries
        if label not in missing
        for s in STRATEGIES
    ]
    product = SystemResult(
        name="matrix product", label="matrix product", side="product", runtime="pytorch", dtype="fp32", strategy=""
    )
    return ModelResult(
        name="a model",
        size=Size(layers, 4, 8),
        export="poolfold export",
        systems=(*systems, product),
        missing=missing,
        workloads=tuple(
            WorkloadResult(
                name=w, rows=32, batches=1, tokens=4096, real_tokens=2048, rounds=3,
                useful_flops={"cls": 1_000_000_000, "mean": 2_000_000_000}, product_flops=4_000_000_000,
            )
            for w in WORKLOADS
        ),
        timings=tuple(
            timing(s.name, w, windows(s.label, s.strategy, w)) for s in (*systems, product) for w in WORKLOADS
        ),
        memory=tuple(
            MemoryResult(
                label=label, runtime=runtime, dtype="fp32", side=side, strategy=strategy, workload="32x512",
                increase_bytes=None if mib is None else mib * MIB,
            )
            for label, runtime, side, strategy, mib in memory
        ),
        encode=(
            EncodeResult(
                label="poolfold onnxruntime fp32", strategy="mean", windows_ms=(1.0, 2.0, 3.0),
                latency_ms=quartiles([1.0, 2.0, 3.0]), speedup=quartiles([2.0, 3.0, 4.0]),
            ),
        ),
        seconds=100.0,
        load_averages=(0.1, None),
    )  # fmt: skip


def timing(system, workload, windows):
    return TimingResult(
        system=system,
        workload=workload,
        calls_per_window=1,
        windows_ms=tuple(windows),
        latency_ms=quartiles(windows),
    )


def results(*models):
    return Results(
        command="make bench",
        threads=2,
        busy=0.01,
        pause_s=0.1,
        environment=Machine(
            python="3.11", platform="Linux", cpu="a processor", cores=2, logical_cpus=4, memory_bytes=8 << 30,
            versions={"torch": "2.13.0"},
        ),
        peer_versions={"optimum": "2.1.0"},
        models=models,
    )  # fmt: skip


def even(ours, peer):
    """Each of ours takes `ours` ms and each peer `peer` ms in every round."""
    return lambda label, strategy, workload: [ours if label.startswith("poolfold") else peer] * 3


def verdict(found, workload, strategy, target):
    (one,) = [
        v for v in goals.verdicts(found) if (v.goal.workload, v.goal.strategy, v.target) == (workload, strategy, target)
    ]
    return one
