"""What is timed: a name, and the function that loads it in a worker.

Values only: nothing here imports torch, a runtime or an artifact's loader, and arguments are plain JSON, since they
travel to another process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from exporter.spec.model import ModelSpec
from exporter.spec.origin import CHECKPOINT
from graphs.pooling.head import Cut
from graphs.pooling.strategy import Strategy, strategy_name


@dataclass(frozen=True)
class System:
    """Something that turns a batch into vectors.

    load: `module:function`. Importing the module, and its `prepare(**arguments)` where it has one, imports the
        libraries. The function, called with `arguments` and `threads`, loads the model and returns
        `embed(input_ids, attention_mask) -> float32 [batch, dim]`, or a `protocol.Pooled` with a pool for `strategy`.
    baseline: the name of the system that this one is compared with; its own where it is the baseline.
    process: systems that name the same one share it and its windows: the strategies of one `Pooled`, alike in `load`
        and `arguments`. Empty: a process of its own.
    python: the interpreter of another environment that it runs in; empty for this one.
    """

    name: str
    strategy: str
    dtype: str
    runtime: str
    load: str
    arguments: Mapping[str, object]
    baseline: str
    process: str = ""
    python: str = ""


def baseline_system(spec: ModelSpec, strategy: Strategy, cut: Cut) -> System:
    """The model itself in fp32, pooled by one strategy: what graphs made from it are compared with."""
    source, origin = spec.source, spec.source.origin
    name = f"{strategy_name(strategy)} fp32 {origin.baseline}"
    arguments: dict[str, object] = {
        "folder": str(source.folder),
        "strategy": strategy_name(strategy),
        **asdict(cut),
    }
    if source.graph is None:
        arguments |= {"name": source.name, "revision": source.revision, **asdict(spec.trust)}
        arguments["tokenizer"] = spec.tokenizer.source
    else:
        graph = source.graph
        arguments |= {"graph": str(graph.path), "hidden": graph.encoder.hidden, "width": spec.hidden_size}
    return System(
        name, strategy_name(strategy), "fp32", origin.baseline, origin.load_baseline, arguments, baseline=name
    )


def artifact_system(
    directory: Path,
    strategy: Strategy,
    dtype: str,
    target: str = "onnxruntime",
    baseline: str = CHECKPOINT.baseline,
    provider: str = "cpu",
) -> System:
    """What an artifact runs, through the loader that ships; compared with `baseline`'s fp32 of the same strategy.

    `provider` is ONNX Runtime's, and `cpu` where another runtime is meant.
    """
    name = strategy_name(strategy)
    arguments = {"directory": str(directory), "strategy": name, "dtype": dtype, "target": target}
    runtime = target
    if provider != "cpu":
        arguments["provider"] = provider
        runtime = f"{target} {provider}"
    load = "exporter.measure.load_artifact:load"
    system = f"{name} {dtype} {runtime}"
    return System(system, name, dtype, runtime, load, arguments, baseline=f"{name} fp32 {baseline}")
