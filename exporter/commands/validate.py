"""`poolfold validate`: what an artifact runs on a target against PyTorch again."""

from __future__ import annotations

from pathlib import Path

from exporter.baseline import find_baseline
from exporter.checkpoint.weights import check_weights
from exporter.console import Console
from exporter.parity.checks import run_reference
from exporter.parity.corpus import corpus
from exporter.parity.tokens import tokenise
from exporter.reference import Reference, load_backbone
from exporter.texts import read_texts
from exporter.validation import candidates, check_candidates, refuse_unrunnable, require_passed, summarise_parity
from poolfold.tokenise import Tokenizer
from poolfold.verify import verify


def run(
    *,
    directory: Path,
    target: str,
    texts: Path | None,
    model: str | None,
    threads: int | None,
    allow_pickle: bool,
    trust_remote_code: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print every check, and raise CheckFailed where one fails."""
    console = Console(as_json=as_json, quiet=quiet)
    own = read_texts(texts) if texts else ()
    manifest = verify(directory)
    refuse_unrunnable(directory, manifest, target)
    with console.stage("reference") as stage:
        baseline = find_baseline(manifest, model, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
        spec = baseline.spec
        check_weights(spec.transformer, allow_pickle=allow_pickle)
        tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
        tokens = tokenise((*corpus(spec.text.max_seq_length), *own), tokenizer)
        reference = Reference(load_backbone(spec), baseline.head)
        vectors = run_reference(reference, tokens, baseline.strategies)
        stage.outcome = f"{len(tokens.rows)} texts in PyTorch fp32"
    with console.stage("validate") as stage:
        listed = candidates(manifest, [target])
        reports = check_candidates(directory, manifest, vectors, listed, threads=threads, progress=stage.progress)
        failed = sum(not report.passed for report in reports)
        stage.outcome = f"{len(reports)} candidates, {failed} failed"
    console.table(
        f"{directory} against {spec.source.name}",
        ("strategy", "dtype", "executor", "check", "value", "limit", "result"),
        [
            (r.strategy, r.dtype, r.executor, c.name, f"{c.value:.7g}",
             "-" if c.limit is None else f"{c.bound} {c.limit:.7g}", _result(c.passed, c.limit))
            for r in reports
            for c in r.checks
        ],
    )  # fmt: skip
    console.json({"directory": str(directory), "passed": not failed, "parity": summarise_parity(reports)})
    require_passed(reports)


def _result(passed: bool, limit: float | None) -> str:
    return "reported" if limit is None else "passed" if passed else "FAILED"
