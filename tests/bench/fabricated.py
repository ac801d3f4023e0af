"""Results of runs that never were: every window of every system on every workload is known."""

from bench import goals
from bench.batches import ON_GPU, ON_PROCESSOR
from bench.results import (
    EncodeResult,
    MemoryResult,
    ModelResult,
    Results,
    SystemResult,
    TimingResult,
    WorkloadResult,
)  # fmt: skip
from bench.systems import OURS, STRATEGIES, name, our_label
from bench.work import Size
from exporter.measure.quartiles import quartiles

PEERS = (
    ("PyTorch eager", "pytorch", "fp32"),
    ("optimum onnxruntime fp32", "onnxruntime", "fp32"),
    ("optimum openvino fp32", "openvino", "fp32"),
    ("optimum openvino bf16", "openvino", "bf16"),
)
EAGER, COMPILED = "PyTorch eager fp16", "torch.compile fp16"
RTX, ORT = "poolfold tensorrt-rtx fp16", "poolfold onnxruntime cuda fp16"
MIB = 1 << 20


def system(label, side, runtime, dtype, strategy, **more):
    return SystemResult(
        name=name(label, strategy), label=label, side=side, runtime=runtime, dtype=dtype, strategy=strategy, **more
    )


def timing(system, workload, windows):
    latency = quartiles(windows)
    return TimingResult(
        system=system, workload=workload, calls_per_window=1, windows_ms=tuple(windows), latency_ms=latency, p90_ms=2.5
    )


def _model(systems, workloads, windows, *, layers, missing, memory, timed=True, **more):
    return ModelResult(
        name="a model",
        size=Size(layers, 4, 8),
        export="poolfold export",
        systems=tuple(systems),
        missing=missing,
        workloads=tuple(
            WorkloadResult(
                name=w, rows=32, batches=1, tokens=4096, real_tokens=2048, rounds=3,
                useful_flops={"cls": 1_000_000_000, "mean": 2_000_000_000}, product_flops=4_000_000_000,
            )
            for w in workloads
        ),
        timings=tuple(timing(s.name, w, windows(s, w)) for s in systems for w in workloads) if timed else (),
        memory=tuple(
            MemoryResult(
                label=label, runtime=runtime, dtype="fp32", side=side, strategy=strategy, workload="32x512",
                increase_bytes=None if mib is None else mib * MIB,
            )
            for label, runtime, side, strategy, mib in memory
        ),
        seconds=100.0,
        load_averages=(0.1, None),
        **more,
    )  # fmt: skip


def model(windows, *, layers=6, missing=None, memory=(), peers=PEERS, ours=OURS):
    """`windows(label, strategy, workload)` gives the milliseconds of each round; `missing` is label -> reason."""
    missing = missing or {}
    entries = [(label, "peer", runtime, dtype) for label, runtime, dtype in peers]
    entries += [(our_label(target, dtype), "ours", target, dtype) for target, dtype in ours]
    systems = [system(*entry, s) for entry in entries if entry[0] not in missing for s in STRATEGIES]
    systems.append(system("matrix product", "product", "pytorch", "fp32", ""))
    encode = EncodeResult(
        label="poolfold onnxruntime fp32", strategy="mean", windows_ms=(1.0, 2.0, 3.0),
        latency_ms=quartiles([1.0, 2.0, 3.0]), speedup=quartiles([2.0, 3.0, 4.0]),
    )  # fmt: skip
    return _model(
        systems, ON_PROCESSOR, lambda s, w: windows(s.label, s.strategy, w), layers=layers, missing=missing,
        memory=memory, encode=(encode,),
    )  # fmt: skip


def gpu_model(
    windows, *, labels=(EAGER, COMPILED, RTX, ORT), missing=None, cosines=None, timed=True, failed=""
):  # fmt: skip
    """`windows(label, workload)` gives the milliseconds of each round; one strategy, mean."""
    missing = {name(label, "mean"): reason for label, reason in (missing or {}).items()}
    systems = [
        system(
            label, "ours" if label.startswith("poolfold") else "peer", "a runtime", "fp16", "mean",
            smallest_cosine=(cosines or {}).get(label, 0.9999),
        )
        for label in labels
        if name(label, "mean") not in missing
    ]  # fmt: skip
    return _model(
        systems, ON_GPU, lambda s, w: windows(s.label, w), layers=6, missing=missing, timed=timed, failed=failed,
        memory=[(s.label, s.runtime, s.side, s.strategy, 300) for s in systems], encode=(),
        rates={"dtype": "fp16", "flops": 1e12, "bytes": 1e9}, tensorrt_rtx="runs; smallest row cosine 0.999900",
    )  # fmt: skip


def results(*models, **more):
    return Results(
        command="make bench",
        threads=2,
        busy=0.01,
        pause_s=0.1,
        environment={
            "python": "3.11", "platform": "Linux", "cpu": "a processor", "cores": 2, "logical_cpus": 4,
            "memory_bytes": 8 << 30, "versions": {"torch": "2.13.0"},
        },
        peer_versions={"optimum": "2.1.0"},
        models=models,
        **more,
    )  # fmt: skip


def gpu_results(*models, device="cuda", **more):
    card = {"name": "a card", "capability": "9.0", "memory_bytes": 80 << 30, "driver": "a driver", "cuda": "13.0"}
    return results(*models, device=device, card=card, **more)


def even(ours, peer):
    """Each of ours takes `ours` ms and each peer `peer` ms in every round."""
    return lambda label, strategy, workload: [ours if label.startswith("poolfold") else peer] * 3


def verdict(found, workload, strategy, target):
    (one,) = [
        v for v in goals.verdicts(found) if (v.goal.workload, v.goal.strategy, v.target) == (workload, strategy, target)
    ]
    return one
