"""`python -m bench.peers`: measure, keep the results, write what is made of them, print the verdict.

It ends with 0 when everything was measured: a goal that is missed is a result. bench/README.md tells the method.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from importlib import metadata
from pathlib import Path

import msgspec

from bench import models
from bench.environments import OPTIMUM, environment_of, versions
from bench.markdown import between
from bench.peers.measuring import Settings, measure_model
from bench.peers.report import BEGIN, END, readme_table, report
from bench.results import Machine, Results, read, write
from exporter.host.environment import busy_share, cores, environment
from exporter.measure.interleave import PAUSE_S

_RESULTS = Path("bench/results")
_README = Path("README.md")
_SECONDS = 240
"""For the windows of a model given with --model."""
_BUSY = 0.15


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
    text = report(results)
    (folder / "peers.md").write_text(text)
    if folder == _RESULTS:
        between(_README, BEGIN, END, readme_table(results))
    print(text)
    return 0


def _measure(given: argparse.Namespace) -> Results:
    start = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {what}", file=sys.stderr, flush=True)

    machine, busy = msgspec.convert(environment(), Machine), busy_share()
    if busy > _BUSY:
        say(f"other programs use {busy:.0%} of this machine's processors: what follows is theirs as much as ours")
    settings = Settings(None if given.quick else given.peer_venv, given.threads or cores())
    return Results(
        command="make bench" if sys.argv[1:] == [] else f"python -m bench.peers {' '.join(sys.argv[1:])}",
        threads=settings.threads,
        busy=busy,
        pause_s=PAUSE_S,
        environment=msgspec.structs.replace(machine, versions={**machine.versions, **_more_versions()}),
        peer_versions={} if settings.venv is None else versions(OPTIMUM, environment_of(OPTIMUM, settings.venv)),
        models=tuple(measure_model(model, settings, say) for model in _models(given)),
    )


def _models(given: argparse.Namespace) -> list[models.Model]:
    """The two, or those that were named; with --quick in the fewest rounds."""
    build = given.build
    named = [models.Model(folder.name, build / folder.name, folder, _SECONDS, texts=True) for folder in given.model]
    chosen = named or [models.minilm(build), models.bert_base(build)]
    return [dataclasses.replace(model, seconds=0) for model in chosen] if given.quick else chosen


def _more_versions() -> dict[str, str]:
    """Of peers that live in this environment and are no part of poolfold's own."""
    found = {}
    for name in ("openvino", "sentence-transformers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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
