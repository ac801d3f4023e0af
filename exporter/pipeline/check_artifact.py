"""An artifact that exists, held again against the model that it came from: its vectors, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.host.console import Console, count
from exporter.measure.artifact_latency import measure_artifact, warn_if_disturbed
from exporter.measure.report import LatencyReport
from exporter.model.of_artifact import find_baseline, open_model
from exporter.parity.checks import run_reference
from exporter.parity.corpus import corpus
from exporter.parity.report import ParityReport
from exporter.parity.tokens import tokenise
from exporter.parity.validation import candidates, check_candidates, refuse_unrunnable
from exporter.spec.origin import Trust
from poolfold.manifest import Manifest
from poolfold.tokenise import Tokenizer
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


def validate_artifact(request: CheckRequest, texts: tuple[str, ...], console: Console) -> tuple[ParityReport, ...]:
    """Check all that the artifact runs on a target, on poolfold's corpus and `texts`; a failed check is in the result.

    Raises:
        PoolfoldError: bad input, another model, a target that is not available.
    """
    manifest = request.verified()
    with console.stage("reference") as stage:
        baseline = find_baseline(manifest, request.model, request.trust)
        spec = baseline.spec
        tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
        tokens = tokenise((*corpus(spec.text.max_seq_length), *texts), tokenizer)
        reference = open_model(spec, request.threads).reference(baseline.head)
        run = run_reference(reference, tokens, baseline.strategies)
        stage.outcome = f"{count(len(tokens.rows), 'text')} in {reference.described}"
    with console.stage("validate") as stage:
        reports = check_candidates(
            request.directory,
            manifest,
            run,
            candidates(manifest, [request.target], request.provider),
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
