"""`python -m bench.gpu`: measure on the first NVIDIA GPU, keep the results, print the verdict.

Ends with 0 when everything was measured that runs here (a goal that is missed is a result), 1 when vectors of ours fail
parity or a model could not be measured, 2 on bad usage, 3 without a GPU. bench/README.md tells the method.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

import msgspec

from bench import models
from bench.batches import ON_GPU
from bench.document import document, verdict_section
from bench.goals import parity_passes
from bench.gpu.goals import verdicts
from bench.gpu.measuring import Settings, measure_model
from bench.gpu.systems import CPU, CUDA
from bench.results import Card, Machine, ModelResult, Results, write
from bench.turns import STRATEGIES
from exporter.host.child_process import OwnProcess
from exporter.host.environment import busy_share, cores, environment
from exporter.measure.interleave import PAUSE_S
from exporter.measure.process import in_words
from poolfold.errors import PoolfoldError

_RESULTS = Path("bench/results")
_NAMED = {"minilm": models.minilm, "bert-base": models.bert_base}


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, write, print."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.artifact and len(given.artifact) != len(given.model):
        parser.error(f"got {len(given.artifact)} --artifact for {len(given.model)} models; give one for each, in order")
    with OwnProcess("bench.gpu.card:describe", given.device) as process:
        card = process.result()
    if isinstance(card, str):
        print(
            f"{card}: nothing is measured. Run this on a machine with one, or try the bench itself with --device cpu.",
            file=sys.stderr,
        )
        return 3
    # What is kept with the project is of a GPU, of the models that it names, and in more than the fewest rounds.
    kept = given.device == "cuda" and not given.quick and set(given.model) <= set(_NAMED)
    folder = _RESULTS if kept else given.build / "results"
    results = _measure(given, msgspec.convert(card, Card), folder)
    print(report(results))
    for model in results.models:
        print(f"{model.name}:", *verdict_section(model, verdicts(model), []), sep="\n\n", file=sys.stderr)
    return exit_code(results)


def report(results: Results) -> str:
    """bench/results/gpu.md."""
    return document(results, "poolfold on a GPU", ON_GPU, lambda model: (verdicts(model), []))


def exit_code(results: Results) -> int:
    """1 where vectors of ours fail parity, a model was not measured, or its windows failed; else 0."""
    wrong = any(s.side == "ours" and not parity_passes(s) for model in results.models for s in model.systems)
    return 1 if wrong or results.unmeasured or any(model.failed for model in results.models) else 0


def _measure(given: argparse.Namespace, card: Card, folder: Path) -> Results:
    """Measure the models one after another; what is known so far is in the folder at any time."""
    start = time.monotonic()
    settings = Settings(
        setting=CUDA if given.device == "cuda" else CPU,
        strategies=tuple(given.pooling),
        compiled=given.compiled,
        quick=given.quick,
        threads=cores(),
    )
    results = Results(
        command=shlex.join(["python", "-m", "bench.gpu", *sys.argv[1:]]),
        device=given.device,
        card=card,
        environment=msgspec.convert(environment(), Machine),
        threads=settings.threads,
        busy=busy_share(),
        pause_s=PAUSE_S,
        peer_versions={},
        models=(),
        unmeasured=dict.fromkeys(given.model, "the run was ended before its turn"),
        complete=False,
    )

    def keep(changed: Results) -> None:
        nonlocal results
        results = changed
        write(results, folder / "gpu.json")
        (folder / "gpu.md").write_text(report(results))

    keep(results)
    for number, named in enumerate(given.model):
        now = time.monotonic()
        until = now + (start + given.seconds - now) / (len(given.model) - number)
        others, rest = results.models, {m: r for m, r in results.unmeasured.items() if m != named}

        def say(what: str, named: str = named) -> None:
            print(f"{time.monotonic() - start:6.0f} s  {named}: {what}", file=sys.stderr, flush=True)

        def keep_model(
            model: ModelResult, others: tuple[ModelResult, ...] = others, rest: dict[str, str] = rest
        ) -> None:
            keep(msgspec.structs.replace(results, models=(*others, model), unmeasured=rest))

        try:
            model = _model(named, given.build)
            artifact = given.artifact[number] if given.artifact else None
            measure_model(model, artifact, settings, until, say, keep_model)
        except (PoolfoldError, RuntimeError) as error:
            say(f"not measured: {in_words(error)}")
            keep(msgspec.structs.replace(results, unmeasured={**results.unmeasured, named: in_words(error)}))
    keep(msgspec.structs.replace(results, complete=True))
    return results


def _model(named: str, build: Path) -> models.Model:
    if named in _NAMED:
        return _NAMED[named](build)
    folder = Path(named)
    return models.Model(
        folder.name, build / folder.name, folder, seconds=0, texts=False
    )  # its share of --seconds counts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument(
        "--model", nargs="+", default=list(_NAMED), help=f"{', '.join(_NAMED)}, or a folder (default: both)"
    )
    parser.add_argument(
        "--artifact", nargs="+", type=Path, default=[], help="artifacts made elsewhere, one for each model, in order"
    )
    parser.add_argument(
        "--pooling", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="strategies (default: both)"
    )
    parser.add_argument("--seconds", type=float, default=480, help="for the whole run (default: 480)")
    parser.add_argument("--quick", action="store_true", help="in the fewest rounds; kept in the build folder only")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the bench itself")
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="without torch.compile")
    parser.add_argument("--build", type=Path, default=Path("build/gpu"), help="default: build/gpu")
    return parser


if __name__ == "__main__":
    sys.exit(main())
