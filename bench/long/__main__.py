"""`python -m bench.long`: export models, then measure rows, a limit of memory, a corpus and very many texts.

Each part can be run alone, and what it found is kept at once, so that a run can be cut short and taken up again.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import markdown
from bench.embedders.checkpoints import make
from bench.embedders.systems import run_export, size_of, targets_here
from bench.goals import LIMITS
from bench.long import parts
from bench.long.models import CORPUS, FURTHER, LENGTHS, MODELS, SHORT, TINY
from bench.long.tables import CORPORA, figures, tables
from bench.long.texts import documents, short_texts
from exporter.host.environment import busy_share, environment, load_average
from poolfold.manifest import read_manifest
from poolfold.sessions.threads import default_threads

RESULTS, _PAGE = Path("bench/results/long.json"), Path("docs/models.md")
BEGIN, END = "<!-- what `make bench-long` measured: begin -->", "<!-- what `make bench-long` measured: end -->"
LONG_SHARE = 1 / 30
"""Of the documents of the corpus, those as long as the limit."""
FULL, ALONE = 32, 8
"""Documents as long as the limit, and how many of them are embedded one at a time."""
MANY = (20_000, 200_000)
Found = Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]
"""The place of a result among those that are kept, and the result."""
_VALIDATED = 1024
"""Tokens that an export proves: attention of texts beyond 512 is computed in slices. Longer rows are compared here."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, write; 1 where a vector of ours is wrong."""
    given = _parser().parse_args(arguments)
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if not given.render:
        measure(kept, given)
    markdown.between(_PAGE, BEGIN, END, tables(kept))
    figures(kept, RESULTS.parent)
    print(tables(kept))
    for place in (wrong := list(wrong_vectors(kept))):
        print(f"wrong vectors: {place}", file=sys.stderr)
    return 1 if wrong else 0


def measure(kept: dict[str, Any], given: argparse.Namespace) -> None:
    """Add what is measured to what is kept, each with its conditions, and write it at once."""
    threads, wanted = given.threads or default_threads(), given.part or list(PARTS)
    names = [name for name in given.model or MODELS if {"rows", "further", "short", "limit"} & {*wanted}]
    names += [CORPUS] if {*CORPORA} & {*wanted} and CORPUS not in names else []
    models = [parts.Model(name, MODELS[name], given.build / name) for name in names]
    models += [parts.Model("tiny", TINY, given.build / "tiny")] if "many" in wanted else []
    for part in (_exports, *(PARTS[name] for name in PARTS if name in wanted)):
        found_by_name = part(models, given, threads)
        while True:
            busy, environment_ = busy_share(), environment()
            try:
                place, found = next(found_by_name)
            except StopIteration:
                break
            at = kept
            for key in place[:-1]:
                at = at.setdefault(key, {})
            conditions = {"threads": threads, "busy_before": busy, "load_average": load_average()}
            at[place[-1]] = {**found, **conditions, "environment": environment_}
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def _exports(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if not (given.kept and model.artifact.is_dir()):
            yield ("exports", model.name), _export(model)


def _rows(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.embedder is not TINY:
            lengths = [n for n in LENGTHS if n <= model.text.max_seq_length]
            for systems in parts.rows(model, lengths, threads, given.seconds):
                yield ("rows", model.name), {"systems": systems}


def _further(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.text.max_seq_length >= FURTHER:
            yield ("further", model.name), parts.further(model, FURTHER, threads)


def _short(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.embedder is not TINY:
            yield ("short", model.name), parts.short(model, SHORT, threads, given.seconds)


def _limit(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.embedder is not TINY:
            yield ("limit", model.name), parts.limit(model, LENGTHS[-1], threads)


def _corpus(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.name == CORPUS:
            longest = max(1, round(LONG_SHARE * given.documents))
            texts = documents(given.documents, longest, model.text.max_seq_length)
            yield ("corpus",), parts.corpus(model, texts, threads, 60 * given.peer_minutes)


def _full(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.name == CORPUS:
            texts = documents(FULL, FULL, model.text.max_seq_length)
            yield ("full",), parts.corpus(model, texts, threads, 60 * given.peer_minutes, ALONE)


def _many(models: Sequence[parts.Model], given: argparse.Namespace, threads: int) -> Found:
    for model in models:
        if model.embedder is TINY:
            yield ("many",), {"systems": parts.many(model, [short_texts(number) for number in MANY], threads)}


PARTS = {
    "rows": _rows,
    "further": _further,
    "short": _short,
    "limit": _limit,
    "corpus": _corpus,
    "full": _full,
    "many": _many,
}


def wrong_vectors(kept: Mapping[str, Any]) -> Iterator[str]:
    """Where a vector of ours is farther from what it is held against than its precision allows."""
    for name, of_model in (*kept.get("rows", {}).items(), *kept.get("further", {}).items()):
        for system, of in of_model["systems"].items():
            for shape, at in of["lengths"].items():
                if system.startswith("poolfold") and at.get("cosine", 1.0) < LIMITS[of["dtype"]]:
                    yield f"{name}, {system}, {shape}: cosine {at['cosine']}, expected {LIMITS[of['dtype']]} or more"
    for part in (*CORPORA, "many"):
        for of in kept.get(part, {}).get("systems", []):
            if of["system"].startswith("poolfold") and of.get("cosine", 1.0) < LIMITS["fp32"]:
                yield f"{part}, {of['system']}: cosine {of['cosine']}, expected {LIMITS['fp32']} or more"


def _export(model: parts.Model) -> dict[str, Any]:
    """Make the checkpoint where it is not there, and the artifact anew: what that cost, and what it proved."""
    model.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    make(model.embedder, model.checkpoint)
    options = ["--skip-latency", "--validate-length", str(min(_VALIDATED, model.embedder.limit or _VALIDATED))]
    for target, dtype in targets_here()[:1] if model.embedder is TINY else targets_here():
        options += ["--target", target, "--dtype", dtype]
    cost = run_export(model.name, model.checkpoint, model.artifact, options)
    return {
        **cost,
        "limit": model.text.max_seq_length,
        "checkpoint_bytes": size_of(model.checkpoint, "*.safetensors"),
        "artifact_bytes": size_of(model.artifact, "*"),
        "cosine": {f"{p.executor} {p.dtype}": p.checks["cosine"].value for p in read_manifest(model.artifact).parity},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.long", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; repeats")
    parser.add_argument("--model", action="append", choices=list(MODELS), help="only this one; repeats")
    parser.add_argument("--kept", action="store_true", help="measure what was exported before")
    parser.add_argument("--seconds", type=float, default=120, help="for the windows in a precision (default: 120)")
    parser.add_argument("--documents", type=int, default=300, help="of the corpus (default: 300)")
    parser.add_argument("--peer-minutes", type=float, default=20, help="that the corpus may take it (default: 20)")
    parser.add_argument("--threads", type=int, help="of every system (default: the cores)")
    parser.add_argument("--build", type=Path, default=Path("build/bench/long"), help="default: %(default)s")
    parser.add_argument("--render", action="store_true", help="measure nothing, make the tables again")
    return parser


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(code)
