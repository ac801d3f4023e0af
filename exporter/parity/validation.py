"""All that an artifact runs here against the model it came from, through the loader that ships.

fp16 is judged twice on a CPU: the graph itself, which ONNX Runtime's CPU provider mostly computes in fp32, and its
rehearsal, the same graph in fp32 with every fp16 tensor rounded, which shows what a GPU would round, overflow or lose.
So is int8 for OpenVINO, which rounds activations on CPUs that multiply int8, and on others does not. Graphs in 8 bits
that engines are built of run nowhere else: of them the rehearsal alone is judged, and they stay `built`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.parity.behind_prompt import check_prompts
from exporter.parity.checks import Embed, Progress, ReferenceRun, candidate_shapes, check, up_to
from exporter.parity.compare import LIMITS, Limits, int8_limits
from exporter.parity.effort import effort
from exporter.parity.ladder import Costs
from exporter.parity.report import ParityReport
from exporter.spec.model import DType
from graphs.files.weights import load_graph, save_graphs
from graphs.pooling.strategy import parse_strategy
from graphs.precision.rehearsal import RehearseFloat16Pass
from graphs.quantization.rehearsal import RehearseGroupsPass
from poolfold.choice import Runnable, only_form, runnables
from poolfold.encoder import Encoder
from poolfold.errors import CheckFailed
from poolfold.load import open_encoder, read_tokenizer
from poolfold.manifest import Engine, Executor, Graph, Manifest, Portable
from poolfold.sessions.behind_prompt import BehindPrompt, no_states
from poolfold.sessions.openvino import INT8_GROUP
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.sessions.ort_providers import CPU
from poolfold.sessions.targets import Rounding, find_target, has_engine_files

_BY_PADDING = ("plain", "padding-free")
PORTABLE = "portable"
"""The form of the graph for other programs."""
_PORTABLE_UP_TO = 512
"""Tokens up to which it is checked: it holds a score for each pair of them, in every head."""


class Candidate(NamedTuple):
    """What is held against PyTorch, and what computes it."""

    runs: Runnable
    executor: Executor


def candidates(manifest: Manifest, targets: Sequence[str] | None = None, provider: str = CPU) -> tuple[Candidate, ...]:
    """Everything to check of an artifact; only what runs on some targets, where these are given.

    Without targets, also the rehearsal of each graph in 8 bits that engines are built of.

    `provider` is ONNX Runtime's; only the plain form of a graph runs on another than `cpu`.
    """
    listed: list[Candidate] = []
    rehearsed: set[tuple[str, str, str]] = set()
    for runs in runnables(manifest):
        target = find_target(runs.target)
        only = only_form(manifest, target, runs.path) if provider == CPU else "plain"
        # What no batch runs on is not checked, and says so by its status.
        if only is not None and runs.form != only and (provider != CPU or runs.form in _BY_PADDING):
            continue
        if targets is None or runs.target in targets:
            executor = Executor(target=runs.target, device=target.device(provider), form=runs.form)
            listed.append(Candidate(runs, executor))
            # What is rounded is the same in each form, so one is rehearsed; a GPU rounds by itself.
            key = runs.target, runs.strategy, runs.dtype
            if _rounds_elsewhere(runs) and executor.device == CPU and key not in rehearsed:
                listed.append(Candidate(runs, msgspec.structs.replace(executor, rehearsed=True)))
                rehearsed.add(key)
    if (
        (portable := manifest.portable) is not None
        and provider == CPU
        and "onnxruntime" in (targets or ["onnxruntime"])
    ):
        runs = Runnable("onnxruntime", portable.strategy, DType.FP32, PORTABLE, portable.path)
        listed.append(Candidate(runs, Executor(target="onnxruntime", device=CPU, form=PORTABLE)))
    if targets is None and provider == CPU:
        for graph in manifest.graphs:
            made_for = None if graph.quantized is None else graph.quantized.target
            if made_for is not None and has_engine_files(made_for):
                runs = Runnable(made_for, graph.strategy, graph.dtype, "plain", graph.path)
                listed.append(Candidate(runs, Executor(target=made_for, device=CPU, rehearsed=True)))
    return tuple(listed)


def _rounds_elsewhere(runs: Runnable) -> bool:
    """Whether another machine rounds what this one may not: fp16 on a GPU, and int8 where the CPU multiplies it."""
    return runs.dtype == DType.FP16 or _rounds_by_itself(runs)


def _rounds_by_itself(runs: Runnable) -> bool:
    return DType(runs.dtype).in_8_bits and find_target(runs.target).rounding is Rounding.GROUPS


def work(listed: Sequence[Candidate]) -> float:
    """What checking them takes beside the reference's run of the same texts."""
    return sum(effort(candidate.runs.dtype, rehearsed=candidate.executor.rehearsed) for candidate in listed)


def check_candidates(
    directory: Path,
    manifest: Manifest,
    run: ReferenceRun,
    listed: Sequence[Candidate],
    *,
    scratch: Path | None = None,
    threads: int | None,
    provider: str = CPU,
    progress: Progress,
) -> tuple[ParityReport, ...]:
    """Check each candidate.

    Args:
        directory: an artifact that has been verified, or is being staged.
        run: the reference's vectors of the same texts, for every strategy of the manifest.
        manifest: what it holds.
        listed: of its `candidates`.
        scratch: a directory for rehearsals; None for the system's own.
        threads: of the session; None for `default_threads`.
        provider: ONNX Runtime's, as `candidates` were listed for.
        progress: called before each batch with (work done, work in all, what is being checked).
    """
    reports = []
    each = sum(_COSTS.seconds(*shape) for shape in candidate_shapes(run.tokens))
    total, done = each * work(listed), 0.0
    for candidate in listed:
        runs, executor = candidate
        tell = partial(_tell, progress, done, work([candidate]), total, f"{runs.strategy} {runs.dtype}, {executor}")
        with _opened(directory, manifest, candidate, scratch, threads, provider) as encoder:
            embed, dtype = _watched(encoder.embed, tell), DType(runs.dtype)
            limits = _limits(manifest, runs)
            of = up_to(run, _PORTABLE_UP_TO) if runs.form == PORTABLE else run
            report = check(of, parse_strategy(runs.strategy), dtype, embed, executor, limits)
            behind = check_prompts(encoder, of.tokens, limits.behind_prompt)
        reports.append(report if behind is None else report.also(behind))
        done += each * work([candidate])
    return tuple(reports)


def _limits(manifest: Manifest, runs: Runnable) -> Limits:
    graph = manifest.graph_at(runs.path)
    if graph is None or graph.quantized is None:
        return LIMITS[DType(runs.dtype)]
    return int8_limits(graph.quantized.floor)


def _tell(progress: Progress, before: float, share: float, total: float, what: str, done: float) -> None:
    progress(before + share * done, total, what)


_COSTS = Costs()
"""Of a batch beside another one."""


def _watched(embed: Embed, tell: Callable[[float], None]) -> Embed:
    """The same, which tells before each batch how much work is done."""
    done = 0.0

    def run(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        nonlocal done
        tell(done)
        rows, length = input_ids.shape
        done += _COSTS.seconds(rows, length)
        return embed(input_ids, attention_mask)

    return run


@contextlib.contextmanager
def _opened(
    directory: Path,
    manifest: Manifest,
    candidate: Candidate,
    scratch: Path | None,
    threads: int | None,
    provider: str,
) -> Iterator[Encoder]:
    """An encoder over what ships, or over the rehearsal of its graph."""
    runs = candidate.runs
    if not candidate.executor.rehearsed and runs.form != PORTABLE:
        # Engines may be building beside it, and threads that spin would take their core.
        with open_encoder(
            directory,
            manifest,
            runs.strategy,
            runs.target,
            runs.dtype,
            threads=threads,
            spinning=False,
            provider=provider,
            form=runs.form,
        ) as encoder:
            yield encoder
        return
    with tempfile.TemporaryDirectory(prefix="poolfold-", dir=scratch) as folder:
        path = directory / runs.path if runs.form == PORTABLE else _rehearsal(directory, runs, Path(folder))
        dim = next(s.dim for s in manifest.strategies if s.name == runs.strategy)
        session = OnnxRuntimeSession(path, threads=threads, spinning=False)
        with Encoder(
            BehindPrompt(session, no_states(manifest)) if runs.form == "prompted" else session,
            read_tokenizer(directory, manifest),
            strategy=runs.strategy,
            dtype=runs.dtype,
            target=runs.target,
            dim=dim,
            model=manifest.model,
        ) as encoder:
            yield encoder


def _rehearsal(directory: Path, runs: Runnable, folder: Path) -> Path:
    """The graph that rounds as another machine would, in a file of the folder."""
    path = folder / "rehearsal.onnx"
    model = load_graph(directory / runs.path)
    rehearse = RehearseGroupsPass(INT8_GROUP) if _rounds_by_itself(runs) else RehearseFloat16Pass()
    rehearse(model)
    save_graphs({path: model}, folder / "rehearsal.bin")
    return path


def refuse_unrunnable(directory: Path, manifest: Manifest, target: str, provider: str = CPU) -> None:
    """Raise before any work where a target's engines, or a provider of ONNX Runtime, cannot run here.

    Raises:
        PoolfoldError: as `poolfold.load` of that target does.
    """
    for strategy in manifest.strategies[:1]:
        open_encoder(directory, manifest, strategy.name, target, provider=provider).close()


def engines_to_check(engines: Sequence[Engine]) -> tuple[str, ...]:
    """Targets of the engines whose library and GPU are here, each once."""
    return tuple(dict.fromkeys(e.target for e in engines if has_engine_files(e.target) and _runs_here(e)))


def _runs_here(engine: Engine) -> bool:
    return find_target(engine.target).runs_here(engine)


def mark_validated(
    graphs: Sequence[Graph], engines: Sequence[Engine], reports: Sequence[ParityReport]
) -> tuple[tuple[Graph, ...], tuple[Engine, ...]]:
    """Set the status `validated` on what was checked here and passed, and on nothing else."""
    # A rehearsal alone proves nothing of what ships.
    ran = [r for r in reports if not r.executor.rehearsed]
    passed = {(r.strategy, r.dtype, r.executor.target, r.executor.form) for r in ran if r.passed}
    failed = {(r.strategy, r.dtype, r.executor.target) for r in reports if not r.passed}

    def status(strategy: str, dtype: str, target: str, form: str, before: str) -> str:
        checked = (strategy, dtype, target, form) in passed and (strategy, dtype, target) not in failed
        return "validated" if checked else before

    return (
        tuple(
            msgspec.structs.replace(
                g,
                status=status(g.strategy, g.dtype, on, "plain", g.status),
                padding_free=g.padding_free
                and msgspec.structs.replace(
                    g.padding_free, status=status(g.strategy, g.dtype, on, "padding-free", g.padding_free.status)
                ),
                prompted=g.prompted
                and msgspec.structs.replace(
                    g.prompted, status=status(g.strategy, g.dtype, on, "prompted", g.prompted.status)
                ),
            )
            for g in graphs
            for on in [g.quantized.target if g.quantized else "onnxruntime"]
        ),
        tuple(
            msgspec.structs.replace(e, status=status(e.strategy, e.dtype, e.target, e.form, e.status)) for e in engines
        ),
    )


def mark_portable(portable: Portable | None, reports: Sequence[ParityReport]) -> Portable | None:
    """Set the status `validated` on the graph for other programs, if it was checked and passed."""
    passed = any(report.passed and report.executor.form == PORTABLE for report in reports)
    return msgspec.structs.replace(portable, status="validated") if portable is not None and passed else portable


def require_passed(reports: Sequence[ParityReport]) -> None:
    """Raise CheckFailed, with every failed check and its worst texts, if there is one."""
    failed = [report.explain() for report in reports if not report.passed]
    if failed:
        raise CheckFailed("\n".join(failed))
