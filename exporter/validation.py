"""Every graph of an artifact against the model it came from, through the loader that ships.

fp16 is judged twice on a CPU: the graph itself, which ONNX Runtime's CPU provider mostly computes in fp32, and its
rehearsal, the same graph in fp32 with every fp16 tensor rounded, which shows what a GPU would round, overflow or lose.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from exporter.parity.checks import ReferenceRun, check
from exporter.parity.report import ParityReport, explain
from exporter.spec import DType
from graphs.rehearsal import RehearseFloat16Pass
from graphs.strategy import parse_strategy
from graphs.weights import load_graph, save_graphs
from poolfold.encoder import Encoder
from poolfold.errors import CheckFailed
from poolfold.load import open_encoder, read_tokenizer
from poolfold.manifest import Graph, Manifest
from poolfold.sessions.ort import OnnxRuntimeSession

ONNXRUNTIME = "onnxruntime cpu"
REHEARSAL = "fp16 rehearsal on onnxruntime cpu"


def check_graphs(
    directory: Path,
    manifest: Manifest,
    run: ReferenceRun,
    *,
    scratch: Path | None = None,
    threads: int | None,
    progress: Callable[[int, int, str], None],
) -> tuple[ParityReport, ...]:
    """Check each graph that the manifest lists.

    Args:
        directory: an artifact that has been verified, or is being staged.
        run: the reference's vectors of the same texts, for every strategy of the manifest.
        manifest: what it holds.
        scratch: a directory for rehearsals; None for the system's own.
        threads: of the session; None for one a core.
        progress: called with (checks done, checks in all, what is being checked).
    """
    executors = [(g, e) for g in manifest.graphs for e in _executors(g)]
    reports = []
    for done, (graph, executor) in enumerate(executors):
        progress(done, len(executors), f"{graph.strategy} {graph.dtype}, {executor}")
        with _opened(directory, manifest, graph, executor, scratch, threads) as encoder:
            reports.append(check(run, parse_strategy(graph.strategy), DType(graph.dtype), encoder.embed, executor))
    return tuple(reports)


def _executors(graph: Graph) -> Sequence[str]:
    return (ONNXRUNTIME, REHEARSAL) if graph.dtype == DType.FP16 else (ONNXRUNTIME,)


@contextlib.contextmanager
def _opened(
    directory: Path, manifest: Manifest, graph: Graph, executor: str, scratch: Path | None, threads: int | None
) -> Iterator[Encoder]:
    """An encoder over the graph itself, or over its rehearsal."""
    if executor == ONNXRUNTIME:
        # Engines may be building beside it, and threads that spin would take their core.
        with open_encoder(
            directory, manifest, graph.strategy, "onnxruntime", graph.dtype, threads=threads, spinning=False
        ) as encoder:
            yield encoder
        return
    with tempfile.TemporaryDirectory(prefix="poolfold-", dir=scratch) as folder:
        path = Path(folder) / "rehearsal.onnx"
        model = load_graph(directory / graph.path)
        RehearseFloat16Pass()(model)
        save_graphs({path: model}, Path(folder) / "rehearsal.bin")
        del model
        dim = next(s.dim for s in manifest.strategies if s.name == graph.strategy)
        with Encoder(
            OnnxRuntimeSession(path, threads=threads, spinning=False),
            read_tokenizer(directory, manifest),
            strategy=graph.strategy,
            dtype=graph.dtype,
            target="onnxruntime",
            dim=dim,
            model=manifest.model,
        ) as encoder:
            yield encoder


def refuse_unrunnable(directory: Path, manifest: Manifest, target: str) -> None:
    """Say at once that a target's engines cannot be run here.

    Raises:
        PoolfoldError: as `poolfold.load` of that target does.
    """
    for strategy in manifest.strategies[:1]:
        open_encoder(directory, manifest, strategy.name, target).close()


def require_passed(reports: Sequence[ParityReport]) -> None:
    """Raise CheckFailed, with every failed check and its worst texts, if there is one."""
    failed = [explain(report) for report in reports if not report.passed]
    if failed:
        raise CheckFailed("\n".join(failed))


def summarise_parity(reports: Sequence[ParityReport]) -> list[dict[str, Any]]:
    """The reports as the manifest carries them: each check by its name."""
    return [
        {
            "strategy": report.strategy,
            "dtype": report.dtype,
            "executor": report.executor,
            "reference": report.reference,
            "passed": report.passed,
            "texts": report.n_texts,
            "checks": {c.name: {"value": c.value, "limit": c.limit, "passed": c.passed} for c in report.checks},
            "worst": [{"text": worst.text, "cosine": worst.cosine} for worst in report.worst],
        }
        for report in reports
    ]
