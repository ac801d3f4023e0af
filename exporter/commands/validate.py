"""`poolfold validate`: what an artifact runs on a target against the model it came from again."""

from __future__ import annotations

from pathlib import Path

from exporter.host.console import Console
from exporter.host.libraries import keep_out
from exporter.host.text_file import read_texts
from exporter.parity.checks import run_reference
from exporter.parity.corpus import corpus
from exporter.parity.tokens import tokenise
from exporter.parity.validation import candidates, check_candidates, refuse_unrunnable, require_passed, summarise_parity
from exporter.spec.model import is_graph
from poolfold.tokenise import Tokenizer
from poolfold.verify import verify


def run(
    *,
    directory: Path,
    target: str,
    provider: str,
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
    refuse_unrunnable(directory, manifest, target, provider)
    if is_graph(model or manifest.model.source):
        keep_out("torch")
    # Not before: it imports transformers, and that imports PyTorch.
    from exporter.model.of_artifact import find_baseline, load_reference

    with console.stage("reference") as stage:
        baseline = find_baseline(manifest, model, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
        spec = baseline.spec
        tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
        tokens = tokenise((*corpus(spec.text.max_seq_length), *own), tokenizer)
        reference = load_reference(baseline, allow_pickle=allow_pickle, threads=threads)
        vectors = run_reference(reference, tokens, baseline.strategies)
        stage.outcome = f"{len(tokens.rows)} texts in {reference.name} fp32"
    with console.stage("validate") as stage:
        listed = candidates(manifest, [target], provider)
        reports = check_candidates(
            directory, manifest, vectors, listed, threads=threads, provider=provider, progress=stage.progress
        )
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
