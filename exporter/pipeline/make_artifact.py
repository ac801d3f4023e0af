"""The stages of an export after the capture. Each takes the draft of the artifact and returns a fuller one."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from exporter.artifact.draft import Draft
from exporter.artifact.hub_files import can_be_told, write_hub_files
from exporter.artifact.layout import write_model_files, write_report
from exporter.artifact.model_card import write_model_card
from exporter.artifact.publish import Staging
from exporter.host.console import Console, Stage, count
from exporter.measure.one_form import compare_forms, large_graphs, with_findings
from exporter.parity.tokens import sorted_batches
from exporter.parity.validation import (
    Candidate,
    candidates,
    check_candidates,
    engines_to_check,
    mark_portable,
    mark_validated,
    require_passed,
)
from exporter.pipeline.fold_prompts import Folding, fold_prompts
from exporter.pipeline.measurements import measure
from exporter.pipeline.plan import Capture
from exporter.pipeline.quantize import EightBits, Wanted, quantize
from exporter.pipeline.ranges import measure_ranges
from exporter.pipeline.recipes import SharedEncoder
from exporter.pipeline.run_memory import run_memory
from exporter.pipeline.vector_ranges import with_ranges
from exporter.pipeline.write_graphs import write_graphs
from exporter.spec.choices import starts_behind_prompts, target_dtypes
from exporter.spec.description import describe_model, describe_strategies
from exporter.spec.model import STATIC, DType
from exporter.spec.options import ExportOptions, Layout
from exporter.targets.engines import EngineOrder, engines_in_background, make_engines, outcome
from graphs.files.weights import load_graph
from graphs.pooling.strategy import strategy_name
from poolfold.manifest import Engine, Manifest
from poolfold.sessions.targets import find_target


@dataclass(frozen=True)
class Work:
    """What every stage reads, and none changes."""

    options: ExportOptions
    captured: Capture
    scratch: Path
    console: Console

    @property
    def eight_bits(self) -> tuple[Wanted, ...]:
        """The targets and precisions that graphs in 8 bits are made for."""
        shares = target_dtypes(self.options.targets, self.options.dtypes)
        return tuple((target, dtype) for target, share in shares.items() for dtype in share if dtype.in_8_bits)

    def orders(self, *, files: bool) -> tuple[EngineOrder, ...]:
        """What engine files are built, or what is compiled in memory."""
        options, profiles = self.options, self.captured.plan.profiles
        orders = [
            EngineOrder(target, share, profiles, options.build, options.threads)
            for target, share in target_dtypes(options.targets, options.dtypes).items()
        ]
        return tuple(order for order in orders if order.makes_engines and order.is_files is files)


def make_artifact(options: ExportOptions, place: Staging, captured: Capture, console: Console) -> Manifest:
    """Fill the staging directory with a complete artifact; returns its manifest.

    Raises:
        PoolfoldError: a failed check, or an unavailable target.
    """
    work = Work(options, captured, place.scratch, console)
    draft = describe(place.directory, work)
    draft = add_graphs(draft, work, measure_tensor_ranges(draft, work), put_into_8_bits(draft, work))
    draft = choose_forms(draft, work)
    draft = compile_graphs(draft, work)
    with engine_files(draft, work) as building:
        draft = validate(draft, work)
        draft = add_engine_files(draft, work, building)
    draft = validate_engine_files(draft, work)
    draft = measure(draft, options, captured, console)
    return publish(draft, work)


def describe(directory: Path, work: Work) -> Draft:
    """The draft that holds the model, its strategies and its small files."""
    plan = work.captured.plan
    write_model_files(directory, plan.spec)
    if work.options.layout is Layout.HUB and plan.spec.model_type != STATIC:
        if can_be_told(plan.shown):
            write_hub_files(directory, plan.spec, plan.shown, plan.head)
        else:
            work.console.warn(
                f"sentence-transformers concatenates {strategy_name(plan.shown)} in another order: modules.json, by "
                "which it and others know a model folder, is left out."
            )
    strategies = describe_strategies(plan.spec, plan.strategies, plan.head)
    strategies = with_ranges(directory, plan.strategies, strategies, work.captured.proof.run.vectors)
    described = describe_model(plan.spec, plan.head, plan.source_sha256)
    return Draft(directory, described, strategies, validated_up_to=work.captured.proof.length)


def measure_tensor_ranges(draft: Draft, work: Work) -> dict[str, float]:
    """The largest magnitude of each tensor on real text; empty where nothing is fp16."""
    engines = any(find_target(target).has_engine_files for target, _ in work.eight_bits)
    if DType.FP16 not in work.options.dtypes and not engines:
        return {}
    tokens = work.captured.proof.run.tokens
    with work.console.stage("ranges") as stage:
        ranges = measure_ranges(work.captured.encoder, sorted_batches(tokens), work.options.threads)
        write_report(draft.directory, "ranges", ranges.by_size(tokens.texts))
        stage.outcome = ranges.outcome(tokens.texts)
    return ranges.largest


def put_into_8_bits(draft: Draft, work: Work) -> dict[Wanted, EightBits]:
    """What graphs in 8 bits are made by; empty where none is."""
    if not work.eight_bits:
        return {}
    captured = work.captured
    with work.console.stage("quantize") as stage:
        return quantize(draft.directory, captured.encoder, captured.plan, work.options, work.eight_bits, stage)


def add_graphs(draft: Draft, work: Work, largest: dict[str, float], eight_bits: dict[Wanted, EightBits]) -> Draft:
    """A graph for each strategy, precision and form."""
    plan = work.captured.plan
    dtypes = [dtype.of_graph for dtype in work.options.dtypes]
    packed = [dtype for order in work.orders(files=True) for dtype in order.dtypes]
    folding = folded_prompts(draft, work)
    encoder = load_graph(work.captured.encoder)
    text = plan.spec.text
    shared = SharedEncoder(
        encoder,
        plan.head,
        largest,
        include_prompt=text.include_prompt,
        longest=text.max_seq_length,
        quantizations={wanted: of.quantization for wanted, of in eight_bits.items()},
    )
    graphs, portable = write_graphs(
        draft.directory,
        shared,
        plan.strategies,
        dtypes,
        packed,
        work.console,
        prompted=folding.strategies,
        eight_bits=eight_bits,
        portable=plan.shown if work.options.token_embeddings else None,
    )
    graphs = tuple(msgspec.structs.replace(graph, run_memory=run_memory(plan.spec, encoder, graph)) for graph in graphs)
    # Graphs hold themselves in cycles, and hundreds of megabytes with them.
    del encoder, shared, eight_bits
    gc.collect()
    return replace(draft, graphs=graphs, portable=portable, folded_prompts=folding.prompts)


def folded_prompts(draft: Draft, work: Work) -> Folding:
    """The prompts that need not be computed at run time, and the strategies whose graphs start behind them."""
    plan, options = work.captured.plan, work.options
    if not starts_behind_prompts(options.targets, options.dtypes) or not (
        options.fold_prompts or any(plan.spec.text.prompts.values())
    ):
        return Folding()
    with work.console.stage("prompts") as stage:
        return fold_prompts(
            draft.directory,
            plan.spec,
            work.captured.encoder,
            plan.strategies,
            options.fold_prompts,
            options.threads,
            stage,
        )


def choose_forms(draft: Draft, work: Work) -> Draft:
    """Where one form of a large graph runs every batch: the other is then neither compiled nor checked."""
    options = work.options
    large = () if options.skip_latency else large_graphs(draft.directory, draft.graphs)
    if not large:
        return draft
    draft, manifest = draft.seal()
    with work.console.stage("forms") as stage:
        findings = compare_forms(
            draft.directory,
            manifest,
            large,
            target_dtypes(options.targets, options.dtypes),
            threads=options.threads,
            progress=stage.progress,
        )
        stage.outcome = "; ".join(map(str, findings)) or "no target here runs graphs"
    return replace(draft, graphs=with_findings(draft.graphs, findings))


def compile_graphs(draft: Draft, work: Work) -> Draft:
    """What targets compile in memory, and what their libraries make of it."""
    orders = work.orders(files=False)
    if not orders:
        return draft
    with work.console.stage("compile") as stage:
        engines = make_engines(draft.directory, draft.graphs, orders, lambda what, done: stage.progress(done, 1, what))
        _warn(engines, stage)
        stage.outcome = outcome(engines)
    return replace(draft, engines=(*draft.engines, *engines))


@contextmanager
def engine_files(draft: Draft, work: Work) -> Iterator[Future[tuple[Engine, ...]]]:
    """Build engine files while the block validates the graphs; a block that fails ends the build."""
    with engines_in_background(draft.directory, draft.graphs, work.orders(files=True)) as building:
        yield building


def add_engine_files(draft: Draft, work: Work, building: Future[tuple[Engine, ...]]) -> Draft:
    """Wait for the engine files."""
    if not work.orders(files=True):
        return draft
    with work.console.stage("engines") as stage:
        engines = building.result()
        _warn(engines, stage)
        runs = engines_to_check(engines)
        stage.outcome = outcome(engines) if runs else f"{outcome(engines)}; built, not run here"
    return replace(draft, engines=(*draft.engines, *engines))


def validate(draft: Draft, work: Work) -> Draft:
    """Check the graphs, and what was compiled of them, against the reference."""
    # Checked as it will be loaded: sealed, but not yet called validated.
    draft, manifest = draft.seal()
    with work.console.stage("validate") as stage:
        draft = _checked(draft, work, manifest, candidates(manifest), stage, scratch=work.scratch)
        stage.outcome = f"{count(len(draft.parity), 'candidate')} passed every check on {work.captured.proof.scope()}"
    return draft


def validate_engine_files(draft: Draft, work: Work) -> Draft:
    """Check the engine files whose library and GPU are here; the others stay built."""
    here = engines_to_check(draft.engines)
    if not here:
        return draft
    draft, manifest = draft.seal()
    with work.console.stage("validate engines") as stage:
        listed = candidates(manifest, here)
        draft = _checked(draft, work, manifest, listed, stage, scratch=None)
        stage.outcome = f"{count(len(listed), 'engine')} passed every check on {work.captured.proof.scope()}"
    return draft


def publish(draft: Draft, work: Work) -> Manifest:
    """Write the manifest of what the destination will hold; the rename follows when the block of `staging` ends."""
    with work.console.stage("publish") as stage:
        _, manifest = draft.seal()
        if work.options.layout is Layout.HUB:
            write_model_card(draft.directory, manifest, work.options.output.name)
        size = sum(file.bytes for file in manifest.files)
        stage.outcome = f"{count(len(manifest.files), 'file')}, {size / 2**20:.1f} MiB in {work.options.output}"
    return manifest


def _checked(
    draft: Draft, work: Work, manifest: Manifest, listed: Sequence[Candidate], stage: Stage, *, scratch: Path | None
) -> Draft:
    """The draft with the checks of these candidates, and with what passed called validated.

    Raises:
        CheckFailed: a check failed.
    """
    reports = check_candidates(
        draft.directory,
        manifest,
        work.captured.proof.run,
        listed,
        scratch=scratch,
        threads=work.options.threads,
        progress=stage.progress,
    )
    require_passed(reports)
    graphs, engines = mark_validated(draft.graphs, draft.engines, reports)
    portable = mark_portable(draft.portable, reports)
    return replace(
        draft,
        graphs=graphs,
        engines=engines,
        portable=portable,
        parity=(*draft.parity, *(report.as_row() for report in reports)),
    )


def _warn(engines: Sequence[Engine], stage: Stage) -> None:
    for engine in engines:
        for warning in engine.warnings:
            stage.warn(f"{engine.target} {engine.strategy} {engine.dtype}: {warning}")
