"""Whether the padding-free form of a large graph may run every batch of a target, so that its weights are held once.

Two forms are two sessions, and each packs all weights for itself. In a large graph the products take nearly all of the
time, and packing the tokens, which full batches do not need, takes little. Both forms are measured on full batches
before anything is validated. One session is open at a time; they take turns: plain, padding-free, plain, padding-free.

What counts is processor time, of threads that do not spin. Other programs change it little, and an export beside them
must come to the same artifact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir

from exporter.measure import worker
from exporter.measure.protocol import Pooled, Run
from exporter.measure.workloads import Batch
from exporter.spec.model import DType
from graphs.files.weights import load_graph
from poolfold.manifest import Graph, Manifest
from poolfold.sessions import Opening, Session
from poolfold.sessions.ort_providers import CPU
from poolfold.sessions.targets import find_target
from poolfold.verify.files import open_file

LEAST_BYTES = 10**8
"""Of weights in fp32. Smaller graphs keep both forms: a second copy is small, and packing the tokens shows."""

MOST_RATIO = 1.05
"""Of the padding-free form's time on full batches to the plain form's, on each of them: what one copy may cost."""

_SHAPES = ((1, 16), (1, 128), (4, 64))
_VISITS = 2
_WINDOW_S, _LEAST_CALLS, _MOST_CALLS = 0.3, 2, 7

Time = Callable[[Callable[[], Session], Sequence[Batch]], list[float]]
"""Opens a session, and gives the processor seconds of a call on each batch."""


@dataclass(frozen=True)
class Finding:
    """What was measured of a graph on a target: workload -> the padding-free form's time over the plain form's.

    name: such as `mean fp32 on onnxruntime`; of several precisions the larger ratios.
    """

    graph: str
    target: str
    name: str
    ratios: Mapping[str, float]

    @property
    def serves_all(self) -> bool:
        """Whether the padding-free form is to run every batch."""
        return max(self.ratios.values()) <= MOST_RATIO

    def __str__(self) -> str:
        forms = "one form" if self.serves_all else "two forms"
        shape = max(self.ratios, key=lambda name: self.ratios[name])
        return f"{self.name}: {forms}, as padding-free takes {self.ratios[shape]:.2f}x as long on {shape}"


def large_graphs(directory: Path, graphs: Sequence[Graph]) -> tuple[Graph, ...]:
    """The graphs that may need but one form: of fp32 or int8, in two forms, with weights of LEAST_BYTES or more."""
    return tuple(
        graph
        for graph in graphs
        if graph.dtype in (DType.FP32, DType.INT8)
        and graph.padding_free is not None
        and graph.prompted is None
        and fp32_bytes(directory / graph.path) >= LEAST_BYTES
    )


def fp32_bytes(path: Path) -> int:
    """What the weights of a graph take in fp32, however they are stored."""
    tensors = [value.const_value for value in load_graph(path).graph.initializers.values()]
    return sum(4 * tensor.size for tensor in tensors if tensor is not None and _is_weight(tensor.dtype))


def _is_weight(dtype: ir.DataType) -> bool:
    return dtype.is_floating_point() or dtype is ir.DataType.INT8


def compare_forms(
    directory: Path,
    manifest: Manifest,
    graphs: Sequence[Graph],
    shares: Mapping[str, Sequence[DType]],
    *,
    threads: int | None,
    progress: Callable[[int, int, str], None],
    time_form: Time | None = None,
) -> tuple[Finding, ...]:
    """Time both forms of each graph, on each target that runs graphs.

    Args:
        directory: the artifact.
        manifest: what it holds.
        graphs: of it, `large_graphs`.
        shares: what each target is to run.
        threads: of a session; None for `default_threads`.
        progress: called with (done, in all, what is measured).
        time_form: how a form is timed; None for `seconds_of`.
    """
    wanted = [
        (graph, target, [dtype for dtype in dtypes if dtype.of_graph == graph.dtype])
        for graph in graphs
        for target, dtypes in shares.items()
        if graph.runs_on(target) and not find_target(target).has_engine_files
    ]
    batches = [_full(manifest, *shape) for shape in _SHAPES]
    findings = []
    for done, (graph, target, dtypes) in enumerate(wanted):
        name = f"{graph.strategy} {' and '.join(dtypes)} on {target}"
        progress(done, len(wanted), name)
        of_dtypes = [
            _ratios(directory, manifest, graph, target, dtype, threads, batches, time_form or seconds_of)
            for dtype in dtypes
        ]
        worst = [max(ratios) for ratios in zip(*of_dtypes, strict=True)]
        if worst:
            shapes = [f"{len(batch.input_ids)}x{batch.input_ids.shape[1]}" for batch in batches]
            findings.append(Finding(graph.path, target, name, dict(zip(shapes, worst, strict=True))))
    return tuple(findings)


def with_findings(graphs: Sequence[Graph], findings: Sequence[Finding]) -> tuple[Graph, ...]:
    """The graphs, with the targets on which the padding-free form runs every batch."""
    return tuple(
        graph
        if graph.padding_free is None
        else msgspec.structs.replace(
            graph,
            padding_free=msgspec.structs.replace(
                graph.padding_free,
                serves_all=tuple(f.target for f in findings if f.graph == graph.path and f.serves_all),
            ),
        )
        for graph in graphs
    )


def _ratios(
    directory: Path,
    manifest: Manifest,
    graph: Graph,
    target: str,
    dtype: DType,
    threads: int | None,
    batches: Sequence[Batch],
    time_form: Time,
) -> list[float]:
    """The padding-free form's time over the plain form's, of each batch."""
    assert graph.padding_free is not None

    def opener(path: str) -> Callable[[], Session]:
        opening = Opening(
            directory, manifest, path, dtype, threads, spinning=False, provider=CPU, gpu=0, open_file=open_file
        )
        return lambda: find_target(target).open(opening)

    forms = [opener(graph.path), opener(graph.padding_free.path)]
    visits = [[time_form(form, batches) for form in forms] for _ in range(_VISITS)]
    # The least of each: others only ever add to a time.
    plain, free = ([min(seconds) for seconds in zip(*of_form, strict=True)] for of_form in zip(*visits, strict=True))
    return [b / a for a, b in zip(plain, free, strict=True)]


def seconds_of(open_session: Callable[[], Session], batches: Sequence[Batch]) -> list[float]:
    """The processor seconds of the cheapest call on each batch, in a session that is open meanwhile."""
    session = open_session()
    try:
        system = Pooled(session.run, {})
        return [_cheapest(system, batch) for batch in batches]
    finally:
        session.close()


def _cheapest(system: Pooled, batch: Batch) -> float:
    def call() -> float:
        return worker.run(system, Run([batch], untimed=0, timed=1)).watched.processor_s

    # The first call pages the weights in, and tells how many more there is time for.
    calls = min(_MOST_CALLS, max(_LEAST_CALLS, math.ceil(_WINDOW_S / max(call(), 1e-6))))
    return min(call() for _ in range(calls))


def _full(manifest: Manifest, rows: int, length: int) -> Batch:
    """Rows without padding, none longer than the model's limit."""
    shape = rows, min(length, manifest.model.text.max_seq_length)
    ids = np.random.default_rng(0).integers(0, manifest.model.vocab_size, shape)
    return Batch(ids, np.ones(shape, np.int64))
