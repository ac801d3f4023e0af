"""`python -m bench.peers`: measure, keep the results, write what is made of them, print the verdict.

It ends with 0 when everything was measured: a goal that is missed is a result. bench/README.md tells the method.
"""

import argparse
import dataclasses
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from bench import batches, markdown, models
from bench.batches import ON_PROCESSOR
from bench.beside_graphs import write_graph
from bench.document import document
from bench.exports import OPTIMUM, environment_of, export_optimum, export_ours, versions
from bench.goals import BEST, Verdict, comparisons, verdicts
from bench.results import ModelResult, Results, read, write
from bench.systems import DTYPES, OURS, STRATEGIES, name, ours_on_processor, peers_on_processor, products
from bench.turns import Say, begun, in_turns, memory_result
from bench.work import size_of
from exporter.host.environment import busy_share, environment
from exporter.measure.interleave import PAUSE_S
from exporter.measure.process import weigh
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from poolfold.sessions.threads import default_threads

BEGIN, END = "<!-- what `make bench` measured: begin -->", "<!-- what `make bench` measured: end -->"
_RESULTS, _README = Path("bench/results"), Path("README.md")
_LIBRARY = "sentence-transformers"
_SECONDS = 240
"""For the windows of a model given with --model."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, write."""
    given = _parser().parse_args(arguments)
    # Neither a few rounds nor another model are what the project keeps.
    folder = given.results or (given.build / "results" if given.quick or given.model else _RESULTS)
    if not given.render:
        write(_measure(given), folder / "peers.json")
    results = read(folder / "peers.json")
    if results is None:
        print(f"{folder / 'peers.json'} does not exist; run without --render", file=sys.stderr)
        return 2
    text = document(results, ON_PROCESSOR)
    (folder / "peers.md").write_text(text)
    if folder == _RESULTS:
        markdown.between(_README, BEGIN, END, readme_table(results))
    print(text)
    return 0


def readme_table(results: Results) -> str:
    """What stands between the markers of README.md: our best against the fastest peer of all."""
    rows = []
    for model in results.models:
        judged = {(v.goal.workload, v.goal.strategy, v.target): v for v in verdicts(model)}
        targets = [target for target, _, _ in comparisons(model)]
        # `best`, or the only target that has the precision.
        best = {d: max((t for t in targets if t.endswith(f" {d}")), key=lambda t: t.startswith(BEST)) for d in DTYPES}
        rows += [
            [model.name, w, *(_cell(model, judged[w, s, best[dtype]]) for dtype in DTYPES for s in STRATEGIES)]
            for w in ON_PROCESSOR
        ]
    return markdown.table(["model", "rows x tokens", *(f"{s}, {dtype}" for dtype in DTYPES for s in STRATEGIES)], rows)


def _cell(model: ModelResult, verdict: Verdict) -> str:
    timing = model.timing(name(verdict.ours, verdict.goal.strategy), verdict.goal.workload)
    if verdict.ratio is None or timing is None:
        return "not measured"
    return f"{verdict.ratio.median:.2f}x ({markdown.number(timing.latency_ms.median)} ms)"


def _measure(given: argparse.Namespace) -> Results:
    here: dict[str, Any] = environment()
    start, busy, threads = time.monotonic(), busy_share(), given.threads or default_threads()
    venv = None if given.quick else given.peer_venv
    named = [models.given(folder, given.build, _SECONDS) for folder in given.model]
    chosen = named or [models.minilm(given.build), models.bert_base(given.build)]
    chosen = [dataclasses.replace(model, seconds=0) for model in chosen] if given.quick else chosen

    def measured(model: models.Model) -> ModelResult:
        def say(what: str) -> None:
            print(f"{time.monotonic() - start:6.0f} s  {model.name}: {what}", file=sys.stderr, flush=True)

        return measure_model(model, venv, threads, say)

    return Results(
        command="make bench" if sys.argv[1:] == [] else f"python -m bench.peers {' '.join(sys.argv[1:])}",
        threads=threads,
        busy=busy,
        pause_s=PAUSE_S,
        environment={**here, "versions": {**here["versions"], _LIBRARY: metadata.version(_LIBRARY)}},
        peer_versions={} if venv is None else versions(OPTIMUM, environment_of(OPTIMUM, venv)),
        models=tuple(measured(model) for model in chosen),
    )


def measure_model(model: models.Model, venv: Path | None, threads: int, say: Say) -> ModelResult:
    """Everything that is measured of one model; without optimum's environment its exports are left out.

    Raises:
        RuntimeError: an export failed.
        CheckFailed: PyTorch's process, which everything is compared with, died or hung.
    """
    spec, size = read_spec(Source(model.name, model.checkpoint, None)), size_of(model.checkpoint)
    workloads, artifact, product = (
        batches.timed(spec, ON_PROCESSOR),
        model.build / "artifact",
        model.build / "product.onnx",
    )
    say("poolfold export; optimum's exports, unless they are kept from before")
    command = export_ours(model.checkpoint, artifact, OURS, STRATEGIES).command
    graphs = export_optimum(model.checkpoint, model.build, venv) if venv else {}
    write_graph(product, size.hidden, size.intermediate)
    entries = [
        *peers_on_processor(model.checkpoint, graphs, batches.shapes(workloads), left_out="left out by --quick"),
        *ours_on_processor(artifact, threads),
        *products(product, size),
    ]
    present = [entry for entry in entries if not entry.missing]
    missing = {entry.label: entry.missing for entry in entries if entry.missing}
    for label, reason in missing.items():
        say(f"without {label}: {reason}")

    say(f"loading {len(present)} processes; torch.compile compiles")
    result = begun(model.name, size, command, workloads, missing)
    result = in_turns(result, present, workloads, threads, model.seconds, say)
    weighed = [entry for entry in present if entry.weighed]
    (largest,) = batches.timed(spec, [batches.LARGEST])
    say(f"memory of one large batch, {len(weighed)} processes one after another")
    memory = [memory_result(e, largest.name, weigh(e.systems()[0], [largest], threads)[0]) for e in weighed]
    return msgspec.structs.replace(result, memory=tuple(memory))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without optimum's exports, in the fewest rounds")
    parser.add_argument("--model", type=Path, action="append", default=[], help="instead of the two; repeats")
    parser.add_argument("--threads", type=int, help="of every system (default: the cores)")
    parser.add_argument("--build", type=Path, default=Path("build/bench"), help="default: build/bench")
    parser.add_argument("--peer-venv", type=Path, default=Path("build/peer-venv"), help="default: build/peer-venv")
    parser.add_argument("--results", type=Path, help=f"default: {_RESULTS}, or in the build with --quick or --model")
    parser.add_argument("--render", action="store_true", help="measure nothing, make the documents again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
