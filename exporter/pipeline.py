"""`export`, stage by stage: every arrow of docs/architecture.md in order, and nothing published unless all succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx_ir as ir

from exporter import artifact
from exporter.artifact_latency import measure_artifact, summarise_latency
from exporter.checkpoint.read import read_spec
from exporter.checkpoint.source import resolve_source
from exporter.checkpoint.weights import check_weights
from exporter.console import Console
from exporter.encoder_export import export_encoder
from exporter.engines import build_engines
from exporter.graph_files import write_graphs
from exporter.parity.checks import ReferenceRun, run_reference
from exporter.parity.corpus import corpus
from exporter.parity.report import ParityReport
from exporter.parity.tokens import Tokens, sorted_batches, tokenise
from exporter.publish import staging
from exporter.ranges import Ranges, measure_ranges
from exporter.recipes import Kitchen
from exporter.reference import Reference, load_backbone
from exporter.request import choose_head, choose_profile, choose_strategies, engine_dtypes
from exporter.spec import DType, ModelSpec
from exporter.validation import check_graphs, require_passed, summarise_parity
from graphs.cleanup import cleanup
from graphs.head import Head
from graphs.strategy import Strategy, strategy_name
from poolfold.manifest import Manifest, Profile
from poolfold.tokenise import Tokenizer

LATENCY_BUDGET_S = 60
"""Seconds for the timed part of an export. `poolfold bench --seconds` measures for longer."""


@dataclass(frozen=True)
class ExportOptions:
    """Everything `poolfold export` can be told, read but not yet held against the checkpoint."""

    model: str
    output: Path
    pooling: tuple[str, ...]
    dtypes: tuple[DType, ...]
    targets: tuple[str, ...]
    batch: tuple[int, int, int]
    seq_len: tuple[int, int, int] | None
    texts: tuple[str, ...]
    dimensions: int | None
    revision: str | None
    force: bool
    skip_latency: bool
    threads: int | None
    allow_pickle: bool
    trust_remote_code: bool


@dataclass(frozen=True)
class _Plan:
    """The options, held against the checkpoint."""

    spec: ModelSpec
    strategies: tuple[Strategy, ...]
    head: Head
    profile: Profile
    tokens: Tokens


def export_model(options: ExportOptions, console: Console) -> Manifest:
    """Export a checkpoint and return the manifest of the published artifact.

    Raises:
        PoolfoldError: bad input, a failed check, an unavailable target. The destination is then as it was.
    """
    # The destination is held first: finding it unusable after minutes of work would waste them.
    with staging(options.output, force=options.force) as directory:
        plan = _read(options, console)
        backbone = load_backbone(plan.spec)
        encoder = _trace(plan, backbone, console)
        run = _reference(plan, Reference(backbone, plan.head), console)
        del backbone
        ranges = _ranges(plan, encoder, options, console)
        artifact.write_model_files(directory, plan.spec)
        kitchen = Kitchen(encoder, plan.head, {} if ranges is None else ranges.largest)
        graphs = write_graphs(directory, kitchen, plan.strategies, options.dtypes, console)
        del encoder, kitchen
        engines = build_engines(
            directory, graphs, engine_dtypes(options.targets, options.dtypes), plan.profile, console
        )
        shape: dict[str, Any] = {
            "model": artifact.describe_model(plan.spec, plan.head),
            "strategies": artifact.describe_strategies(plan.spec, plan.strategies, plan.head),
            "engines": engines,
        }
        # Checked as it will be loaded: sealed, but not yet called validated.
        manifest = artifact.write_manifest(directory, graphs=graphs, **shape)
        parity = _validate(directory, manifest, run, options, console)
        graphs = tuple(msgspec.structs.replace(graph, status="validated") for graph in graphs)
        shape["parity"] = summarise_parity(parity)
        if ranges is not None:
            artifact.write_report(directory, "ranges", ranges.by_size(plan.tokens.texts))
        if not options.skip_latency:
            shape["latency"] = _latency(directory, manifest, plan, options, console)
        with console.stage("publish") as stage:
            manifest = artifact.write_manifest(
                directory, graphs=graphs, known={file.path: file for file in manifest.files}, **shape
            )
            size = sum(file.bytes for file in manifest.files)
            stage.outcome = f"{len(manifest.files)} files, {size / 2**20:.1f} MiB in {options.output}"
    return manifest


def _read(options: ExportOptions, console: Console) -> _Plan:
    with console.stage("read") as stage:
        source = resolve_source(options.model, options.revision, allow_pickle=options.allow_pickle)
        spec = read_spec(source, allow_pickle=options.allow_pickle, trust_remote_code=options.trust_remote_code)
        strategies = choose_strategies(spec, options.pooling)
        head = choose_head(spec, strategies, options.dimensions)
        profile = choose_profile(spec, options.batch, options.seq_len)
        engine_dtypes(options.targets, options.dtypes)
        check_weights(spec.transformer, allow_pickle=options.allow_pickle)
        tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
        tokens = tokenise((*corpus(spec.text.max_seq_length), *options.texts), tokenizer)
        trained = (
            "says nothing of its pooling" if spec.trained is None else f"trained with {strategy_name(spec.trained)}"
        )
        revision = f" @ {source.revision[:12]}" if source.revision else ""
        stage.outcome = (
            f"{source.name}{revision}: {spec.model_type}, {spec.num_layers} layers, {trained}, "
            f"up to {spec.text.max_seq_length} tokens"
        )
        for strategy in strategies:
            if spec.trained is not None and strategy != spec.trained:
                stage.warn(
                    f"{strategy_name(strategy)} is untrained: the checkpoint was trained with "
                    f"{strategy_name(spec.trained)}, and vectors of another pooling are usually worse."
                )
    return _Plan(spec, strategies, head, profile, tokens)


def _trace(plan: _Plan, backbone: Any, console: Console) -> ir.Model:
    with console.stage("trace") as stage:
        encoder = export_encoder(backbone, plan.spec)
        before = len(encoder.graph)
        cleanup(encoder)
        stage.outcome = (
            f"encoder traced once, opset {encoder.opset_imports['']}, {before} -> {len(encoder.graph)} nodes"
        )
    return encoder


def _reference(plan: _Plan, reference: Reference, console: Console) -> ReferenceRun:
    with console.stage("reference") as stage:
        run = run_reference(reference, plan.tokens, plan.strategies)
        stage.outcome = f"{len(plan.tokens.rows)} texts in PyTorch fp32"
    return run


def _ranges(plan: _Plan, encoder: ir.Model, options: ExportOptions, console: Console) -> Ranges | None:
    if DType.FP16 not in options.dtypes:
        return None
    with console.stage("ranges") as stage:
        ranges = measure_ranges(encoder, sorted_batches(plan.tokens), options.threads)
        stage.outcome = ranges.outcome(plan.tokens.texts)
    return ranges


def _validate(
    directory: Path, manifest: Manifest, run: ReferenceRun, options: ExportOptions, console: Console
) -> Sequence[ParityReport]:
    with console.stage("validate") as stage:
        reports = check_graphs(directory, manifest, run, threads=options.threads, progress=stage.progress)
        require_passed(reports)
        stage.outcome = f"{len(reports)} candidates passed every check on {len(run.tokens.rows)} texts"
    return reports


def _latency(
    directory: Path, manifest: Manifest, plan: _Plan, options: ExportOptions, console: Console
) -> Sequence[Mapping[str, Any]]:
    with console.stage("latency") as stage:
        report = measure_artifact(
            directory, manifest, plan.spec, budget_s=LATENCY_BUDGET_S, threads=options.threads, progress=stage.progress
        )
        artifact.write_report(directory, "latency", report)
        stage.outcome = (
            f"{len(report.systems)} systems on {len(report.workloads)} workloads, {report.threads} threads, interleaved"
        )
    return summarise_latency(report)
