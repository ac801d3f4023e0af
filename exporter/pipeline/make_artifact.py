"""The stages of an export behind PyTorch: ranges, graphs, engines, validation, latency, and the manifest of it all."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from exporter.artifact import layout
from exporter.artifact.publish import Staging
from exporter.host.console import Console, Stage
from exporter.measure.artifact_latency import measure_artifact, summarise_latency, warn_if_busy
from exporter.measure.padding_benefit import measure_benefit
from exporter.parity.checks import ReferenceRun
from exporter.parity.report import ParityReport
from exporter.parity.tokens import Tokens, sorted_batches
from exporter.parity.validation import (
    candidates,
    check_candidates,
    engines_to_check,
    mark_validated,
    require_passed,
    summarise_parity,
)
from exporter.pipeline.plan import Capture
from exporter.pipeline.ranges import Ranges, measure_ranges
from exporter.pipeline.recipes import Kitchen
from exporter.pipeline.write_graphs import write_graphs
from exporter.spec.choices import target_dtypes
from exporter.spec.description import describe_model, describe_strategies
from exporter.spec.model import DType, ModelSpec
from exporter.spec.options import ExportOptions
from exporter.targets.engines import EngineOrder, compile_in_memory, engines_in_background, outcome
from graphs.files.weights import load_graph
from poolfold.manifest import Engine, Graph, Manifest
from poolfold.sessions.tensorrt.library import MODULES

LATENCY_BUDGET_S = 60
"""Seconds for the timed part of an export. `poolfold bench --seconds` measures for longer."""


def make_artifact(options: ExportOptions, place: Staging, captured: Capture, console: Console) -> Manifest:
    """Fill the staging directory with a complete artifact; returns its manifest.

    Raises:
        PoolfoldError: a failed check, or an unavailable target.
    """
    directory, plan = place.directory, captured.plan
    ranges = _ranges(captured.encoder, plan.tokens, options, console)
    encoder = load_graph(captured.encoder)
    layout.write_model_files(directory, plan.spec)
    kitchen = Kitchen(encoder, plan.head, {} if ranges is None else ranges.largest)
    shares = target_dtypes(options.targets, options.dtypes)
    orders = [
        EngineOrder(target, share, plan.profiles, options.build)
        for target, share in shares.items()
        if target in MODULES
    ]
    wanted = list(dict.fromkeys(dtype for order in orders for dtype in order.dtypes))
    dtypes = [dtype.of_graph for dtype in options.dtypes]
    graphs = write_graphs(directory, kitchen, plan.strategies, dtypes, wanted, console)
    # Graphs hold themselves in cycles, and hundreds of megabytes with them.
    del encoder, kitchen
    gc.collect()
    facts: dict[str, Any] = {
        "model": describe_model(plan.spec, plan.head),
        "strategies": describe_strategies(plan.spec, plan.strategies, plan.head),
    }
    compiled = _compile(directory, graphs, shares.get("openvino", ()), options, console)
    # Checked as it will be loaded: sealed, but not yet called validated.
    manifest = layout.write_manifest(directory, graphs=graphs, engines=compiled, **facts)
    with engines_in_background(directory, graphs, orders) as building:
        reports = _validate(directory, manifest, captured.run, options, place.scratch, console)
        engines = (*compiled, *(_engines(building, console) if orders else ()))
    checked = _validate_engines(directory, manifest, engines, facts, captured.run, options, console)
    reports = (*reports, *checked)
    graphs, facts["engines"] = mark_validated(graphs, engines, reports)
    facts["parity"] = summarise_parity(reports)
    if ranges is not None:
        layout.write_report(directory, "ranges", ranges.by_size(plan.tokens.texts))
    known = {file.path: file for file in manifest.files}
    if not options.skip_latency:
        # Measured as it will be loaded, so described as it now is.
        manifest = layout.write_manifest(directory, graphs=graphs, known=known, **facts)
        graphs = _padding(directory, manifest, options, console)
        manifest = layout.write_manifest(directory, graphs=graphs, known=known, **facts)
        known = {file.path: file for file in manifest.files}
        facts["latency"] = _latency(directory, manifest, plan.spec, options, console)
    with console.stage("publish") as stage:
        manifest = layout.write_manifest(directory, graphs=graphs, known=known, **facts)
        size = sum(file.bytes for file in manifest.files)
        stage.outcome = f"{len(manifest.files)} files, {size / 2**20:.1f} MiB in {options.output}"
    return manifest


def _ranges(encoder: Path, tokens: Tokens, options: ExportOptions, console: Console) -> Ranges | None:
    if DType.FP16 not in options.dtypes:
        return None
    with console.stage("ranges") as stage:
        ranges = measure_ranges(encoder, sorted_batches(tokens), options.threads)
        stage.outcome = ranges.outcome(tokens.texts)
    return ranges


def _compile(
    directory: Path, graphs: Sequence[Graph], dtypes: Sequence[DType], options: ExportOptions, console: Console
) -> tuple[Engine, ...]:
    if not dtypes:
        return ()
    with console.stage("compile") as stage:
        engines = compile_in_memory(directory, graphs, dtypes, options.threads)
        _warn(engines, stage)
        stage.outcome = outcome(engines)
    return engines


def _validate(
    directory: Path, manifest: Manifest, run: ReferenceRun, options: ExportOptions, scratch: Path, console: Console
) -> Sequence[ParityReport]:
    with console.stage("validate") as stage:
        listed = candidates(manifest)
        reports = check_candidates(
            directory, manifest, run, listed, scratch=scratch, threads=options.threads, progress=stage.progress
        )
        require_passed(reports)
        stage.outcome = f"{len(reports)} candidates passed every check on {len(run.tokens.rows)} texts"
    return reports


def _validate_engines(
    directory: Path,
    before: Manifest,
    engines: Sequence[Engine],
    facts: Mapping[str, Any],
    run: ReferenceRun,
    options: ExportOptions,
    console: Console,
) -> Sequence[ParityReport]:
    """Check the engines whose library and GPU are here; the others stay built."""
    here = engines_to_check(engines)
    if not here:
        return ()
    known = {file.path: file for file in before.files}
    manifest = layout.write_manifest(directory, graphs=before.graphs, engines=tuple(engines), known=known, **facts)
    with console.stage("validate engines") as stage:
        listed = candidates(manifest, here)
        reports = check_candidates(directory, manifest, run, listed, threads=options.threads, progress=stage.progress)
        require_passed(reports)
        stage.outcome = f"{len(reports)} engines passed every check on {len(run.tokens.rows)} texts"
    return reports


def _engines(building: Future[tuple[Engine, ...]], console: Console) -> tuple[Engine, ...]:
    with console.stage("engines") as stage:
        engines = building.result()
        _warn(engines, stage)
        runs = engines_to_check(engines)
        stage.outcome = outcome(engines) if runs else f"{outcome(engines)}; built, not run here"
    return engines


def _padding(directory: Path, manifest: Manifest, options: ExportOptions, console: Console) -> tuple[Graph, ...]:
    with console.stage("padding") as stage:
        graphs = measure_benefit(directory, manifest, threads=options.threads, progress=stage.progress)
        measured = [
            f"{g.strategy} {g.dtype} {target} below {share:.0%}"
            for g in graphs
            if g.padding_free is not None
            for target, share in g.padding_free.faster_below.items()
        ]
        stage.outcome = f"real tokens at which the padding-free form is faster: {', '.join(measured) or 'it has none'}"
    return graphs


def _warn(engines: Sequence[Engine], stage: Stage) -> None:
    for engine in engines:
        for warning in engine.warnings:
            stage.warn(f"{engine.target} {engine.strategy} {engine.dtype}: {warning}")


def _latency(
    directory: Path, manifest: Manifest, spec: ModelSpec, options: ExportOptions, console: Console
) -> Sequence[Mapping[str, Any]]:
    with console.stage("latency") as stage:
        warn_if_busy(stage.warn)
        report = measure_artifact(
            directory, manifest, spec, budget_s=LATENCY_BUDGET_S, threads=options.threads, progress=stage.progress
        )
        layout.write_report(directory, "latency", report)
        stage.outcome = (
            f"{len(report.systems)} systems on {len(report.workloads)} workloads, {report.threads} threads, interleaved"
        )
    return summarise_latency(report)
