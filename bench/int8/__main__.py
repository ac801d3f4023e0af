"""`python -m bench.int8`: time, memory, and what the vectors lose; no time stands without its error.

For each model an export in fp32 and int8, and what others make of it. Where weights are random, only time and memory
say something. Writes bench/results/int8.json and the table of docs/numerics.md.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import batches, markdown
from bench.embedders.systems import run_export, size_of
from bench.exports import OPTIMUM, environment_of, versions, why_not
from bench.int8.models import LIMIT, SUBJECTS, Subject
from bench.int8.peers import peers
from bench.turns import to_stderr
from exporter.host.child_process import OwnProcess
from exporter.host.environment import busy_share
from exporter.measure.interleave import measure
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System, artifact_system
from exporter.model.checkpoint.read import read_spec
from exporter.parity.compare import compare, cosines
from exporter.parity.tokens import Tokens, make_batch, read_texts
from exporter.spec.model import ModelSpec, Source
from graphs.pooling.strategy import parse_strategy
from poolfold.manifest import read_manifest
from poolfold.sessions.threads import default_threads

_TOGETHER, _ALONE = 32, 32
"""Texts of a batch, and texts that are asked for alone besides."""
_TIE = 1e-5
_RANDOM_FLOOR = 0.01
"""For random weights, whose vectors nobody needs."""
OURS = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
_RESULTS, _PAGE = Path("bench/results/int8.json"), Path("docs/numerics.md")
BEGIN = "<!-- what `python -m bench.int8` measured: begin -->"
END = "<!-- what `python -m bench.int8` measured: end -->"


def main() -> int:
    """Measure, write; every model that was measured is kept, whatever becomes of the next."""
    given = _parser().parse_args()
    kept: dict[str, Any] = json.loads(given.output.read_text()) if given.output.is_file() else {}
    for name in () if given.render else given.model or SUBJECTS:
        kept[name] = _measure(name, SUBJECTS[name], given)
        kept = {name: kept[name] for name in SUBJECTS if name in kept}
        given.output.write_text(json.dumps(kept, indent=1) + "\n")
    markdown.between(_PAGE, BEGIN, END, tables(kept))
    print(tables(kept))
    return 0


def _measure(name: str, subject: Subject, given: argparse.Namespace) -> dict[str, Any]:
    build, busy, threads = given.build / name, busy_share(), default_threads()
    build.mkdir(parents=True, exist_ok=True)
    checkpoint, artifact = subject.checkpoint(given.build), build / "artifact"
    left_out = {_name(t, d): why for t, d in OURS if (why := why_not(t, d))}
    here = [pair for pair in OURS if _name(*pair) not in left_out]
    exported = None
    if not (given.kept and artifact.is_dir()):
        exported = run_export(name, checkpoint, artifact, _options(subject, here))
    spec = read_spec(Source(name, checkpoint, None))
    strategy = parse_strategy(subject.strategy)
    found = [replace(artifact_system(artifact, strategy, d, t), name=_name(t, d)) for t, d in here]
    if subject.peers:
        others, failed = peers(spec, subject.strategy, artifact, build, given.peer_venv)
        found, left_out = [*found, *others], left_out | failed
    found = [replace(system, baseline=found[0].name) for system in found]
    lost = _accuracy(found, spec, threads) if subject.real else {}
    workloads = batches.timed(spec, subject.shapes)
    report = measure(
        found, workloads, budget_s=given.seconds, threads=threads, progress=to_stderr, leave_out=False
    )  # fmt: skip
    manifest = read_manifest(artifact)
    quantized = next(graph.quantized for graph in manifest.graphs if graph.quantized)
    sizes = {dtype: size_of(artifact / "onnx", f"weights_{dtype}.bin") for dtype in ("fp32", "int8")}
    return {
        "strategy": subject.strategy, "threads": threads, "busy_before": busy, "export": exported, "sizes": sizes,
        "layers": quantized.layers, "kept": None if quantized.kept is None else quantized.kept.layers,
        "workloads": [shape.name for shape in report.workloads], "left_out": left_out,
        "systems": {system.name: _of(system, report, lost) for system in found},
        "peer_versions": versions(OPTIMUM, environment_of(OPTIMUM, given.peer_venv)) if subject.peers else {},
        "environment": report.environment,
    }  # fmt: skip


def _name(target: str, dtype: str) -> str:
    return f"poolfold {target} {dtype}"


def _options(subject: Subject, here: Sequence[tuple[str, str]]) -> list[str]:
    options = ["--pooling", subject.strategy, "--bench-seconds", "1", "--max-seq-length", str(LIMIT)]
    for flag, values in (("--target", [t for t, _ in here]), ("--dtype", [d for _, d in here])):
        options += [word for value in dict.fromkeys(values) for word in (flag, value)]
    return options if subject.real else [*options, "--int8-floor", str(_RANDOM_FLOOR)]


def _of(system: System, report: LatencyReport, lost: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    memory = next(entry for entry in report.memory if entry.system == system.name)
    return {
        "ms": {
            t.workload: {**asdict(t.latency_ms), "speedup": t.speedup.median, "disturbed": t.disturbed}
            for t in report.timings
            if t.system == system.name
        },
        "bytes": memory.increase_bytes,
        "accuracy": lost.get(system.name),
    }


def _accuracy(found: Sequence[System], spec: ModelSpec, threads: int) -> dict[str, Mapping[str, float]]:
    """What each system's vectors lose against the first's: of all texts in batches, and of some alone."""
    tokens: Tokens = read_texts(spec, (), min(spec.text.max_seq_length, LIMIT))
    rows = sorted(range(len(tokens.rows)), key=lambda row: len(tokens.rows[row]))
    together = [rows[start : start + _TOGETHER] for start in range(0, len(rows), _TOGETHER)]
    alone = rows[:: max(1, len(rows) // _ALONE)][:_ALONE]
    groups = [[make_batch(tokens, group) for group in together], [make_batch(tokens, [row]) for row in alone]]
    places = [rows.index(row) for row in alone]
    reference, results = None, {}
    for system in found:
        print(f"vectors of {system.name}", file=sys.stderr, flush=True)
        request = (system.load, dict(system.arguments), threads, system.strategy, groups)
        with OwnProcess("bench.int8.vectors:vectors", *request, python=system.python, quiet=True) as process:
            whole, by_itself = process.result()
        reference = whole if reference is None else reference
        against = compare(reference, whole, _TIE)
        results[system.name] = {
            "texts": len(rows),
            "worst": float(against.cosine.min()),
            "mean": float(against.cosine.mean()),
            "top_10": float(against.neighbours.mean()),
            "alone": float(cosines(whole[places], by_itself).min()),
        }
    return results


def tables(kept: Mapping[str, Any]) -> str:
    """The results as Markdown, a table a model."""
    parts = []
    for name, of in kept.items():
        texts = max((s["accuracy"]["texts"] for s in of["systems"].values() if s["accuracy"]), default=0)
        judged = f"{texts} texts" if texts else "random weights, whose vectors say nothing"
        sizes = " -> ".join(f"{size / 2**20:.0f}" for size in of["sizes"].values())
        parts.append(f"**{name}**, {of['strategy']}; {judged}; weights {sizes} MiB.")
        heads = ["system", *(f"{shape}, ms" for shape in of["workloads"]), "MiB"]
        heads += ["worst cosine", "mean", "top-10", "alone"] if texts else []
        parts.append(markdown.table(heads, [_row(system, s, of["workloads"]) for system, s in of["systems"].items()]))
    told = [f"{what} left out: {why}" for of in kept.values() for what, why in of["left_out"].items()]
    listed = [", ".join(f"{n} {v}" for n, v in of["peer_versions"].items()) for of in kept.values()]
    told += [f"Peers: {versions}." for versions in filter(None, listed)]
    machines = markdown.machines({name: of["environment"] for name, of in kept.items()})
    return "\n\n".join([*parts, "\n".join([markdown.bullets(dict.fromkeys(told)), machines])])


def _row(name: str, of: Mapping[str, Any], shapes: Sequence[str]) -> list[str]:
    cells = []
    for shape in shapes:
        at = of["ms"][shape]
        cells.append(f"{at['median']:.1f} ({at['speedup']:.2f}x{'?' if at['disturbed'] else ''})")
    row, lost = [name, *cells, "-" if of["bytes"] is None else markdown.mib(of["bytes"])], of["accuracy"]
    if not lost:
        return row
    return [*row, f"{lost['worst']:.5f}", f"{lost['mean']:.5f}", f"{lost['top_10']:.3f}", f"{lost['alone']:.7f}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.int8", description=__doc__)
    parser.add_argument("--model", action="append", choices=list(SUBJECTS), help="only this one; repeats")
    parser.add_argument("--seconds", type=float, default=200, help="for the windows of a model (default: 200)")
    parser.add_argument("--peer-venv", type=Path, default=Path("build/peer-venv"), help="default: %(default)s")
    parser.add_argument("--build", type=Path, default=Path("build/bench/int8"), help="default: %(default)s")
    parser.add_argument("--kept", action="store_true", help="export nothing that was exported before")
    parser.add_argument("--render", action="store_true", help="measure nothing, make the tables again")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
