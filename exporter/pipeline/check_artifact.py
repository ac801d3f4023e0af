"""An artifact that exists, held again against the model that it came from: its vectors, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.host.console import Console, count
from exporter.measure.artifact_latency import measure_artifact, warn_if_disturbed
from exporter.measure.report import LatencyReport
from exporter.model.of_artifact import find_baseline, open_model
from exporter.parity.proof import prove
from exporter.parity.report import ParityReport
from exporter.parity.tokens import read_texts
from exporter.parity.validation import candidates, check_candidates, refuse_unrunnable, work
from exporter.pipeline.afford import allowance, require_memory
from exporter.spec.options import Validation
from exporter.spec.origin import Trust
from poolfold.manifest import Manifest
from poolfold.verify import verify


@dataclass(frozen=True)
class CheckRequest:
    """What is checked or measured.

    directory: the artifact.
    target, provider: what it is to run on.
    model: where the model is now; None for the hub id that the artifact has.
    """

    directory: Path
    target: str
    provider: str
    model: str | None
    threads: int | None
    trust: Trust

    def verified(self) -> Manifest:
        """The manifest of the artifact, whose files are as it says and which can run here.

        Raises:
            PoolfoldError: a file differs, or the target is not available.
        """
        manifest = verify(self.directory)
        refuse_unrunnable(self.directory, manifest, self.target, self.provider)
        return manifest


def validate_artifact(
    request: CheckRequest, texts: tuple[str, ...], validation: Validation, console: Console
) -> tuple[ParityReport, ...]:
    """Check all that the artifact runs on a target, on poolfold's corpus and `texts`; a failed check is in the result.

    Raises:
        PoolfoldError: bad input, another model, a target that is not available.
    """
    manifest = request.verified()
    limit = manifest.model.text.max_seq_length
    validation.require_within(limit)
    listed = candidates(manifest, [request.target], request.provider)
    with console.stage("read") as stage:
        baseline = find_baseline(manifest, request.model, request.trust)
        require_memory(baseline.spec)
        allowed = allowance(baseline.spec, validation, work(listed))
        model = open_model(baseline.spec, request.threads)
        stage.outcome = baseline.spec.source.name
    with console.stage("reference") as stage:
        reference = model.reference(baseline.head)
        proof = prove(
            reference,
            lambda length: read_texts(baseline.spec, texts, length),
            limit,
            baseline.strategies,
            allowed,
            progress=stage.progress,
        )
        for note in proof.notes():
            stage.warn(note)
        stage.outcome = f"{proof.scope()} in {reference.described}"
    with console.stage("validate") as stage:
        reports = check_candidates(
            request.directory,
            manifest,
            proof.run,
            listed,
            threads=request.threads,
            provider=request.provider,
            progress=stage.progress,
        )
        failed = sum(not report.passed for report in reports)
        stage.outcome = f"{count(len(reports), 'candidate')}, {failed} failed"
    return reports


def measure_latency(request: CheckRequest, seconds: float, console: Console) -> LatencyReport:
    """Time all that the artifact runs on a target beside the model, for about so many seconds.

    Raises:
        PoolfoldError: bad input, another model, a target that is not available.
    """
    manifest = request.verified()
    baseline = find_baseline(manifest, request.model, request.trust)
    with console.stage("bench") as stage:
        report = measure_artifact(
            request.directory,
            manifest,
            baseline.spec,
            [request.target],
            budget_s=seconds,
            threads=request.threads,
            provider=request.provider,
            progress=stage.progress,
        )
        warn_if_disturbed(report, stage.warn)
        stage.outcome = (
            f"{count(len(report.systems), 'system')}, {count(len(report.workloads), 'workload')}, "
            f"{count(report.threads, 'thread')}"
        )
    return report
