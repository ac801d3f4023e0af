"""`python -m bench.embedders`: export each, time it beside PyTorch and optimum's export, weigh it; keep the results.

Each system has a process of its own, and all of a model in a precision take turns. Exports are timed as users run them.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import markdown
from bench.embedders.checkpoints import EMBEDDERS, Embedder, make
from bench.embedders.systems import ours, pytorch, run_export, size_of, targets_here, times_of
from bench.exports import export_optimum
from bench.turns import to_stderr
from exporter.host.child_process import OwnProcess
from exporter.host.environment import busy_share, environment
from exporter.measure.interleave import measure
from exporter.measure.process import weigh
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload, filled, ragged_lengths
from poolfold.manifest import Manifest, Text, read_manifest
from poolfold.sessions.threads import default_threads

_RESULTS, _PAGE = Path("bench/results/embedders.json"), Path("docs/models.md")
BEGIN, END = "<!-- what `make bench-models` measured: begin -->", "<!-- what `make bench-models` measured: end -->"
ALONE, RAGGED = (16, 128, 512), "8x512 ragged"
PEER = "optimum's export"
QUERIES, ROWS = (8, 16, 32), (1, 16)
_SEED = 0


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, write; every model that was measured is kept, whatever becomes of the next."""
    given = _parser().parse_args(arguments)
    kept: dict[str, Any] = json.loads(_RESULTS.read_text()) if _RESULTS.is_file() else {}
    for name in () if given.render else given.model or EMBEDDERS:
        before = kept.get(name) if given.kept else None
        kept[name] = _measure(name, given, before)
        _RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    markdown.between(_PAGE, BEGIN, END, tables(kept))
    print(tables(kept))
    return 0


def _measure(name: str, given: argparse.Namespace, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Export and time a model; `before`: what was found of the export that lies there, to be timed again."""
    embedder, build, busy = EMBEDDERS[name], given.build / name, busy_share()
    build.mkdir(parents=True, exist_ok=True)
    checkpoint, artifact = make(embedder, build / "checkpoint"), build / "artifact"
    found = dict(before) if before else _exports(name, embedder, checkpoint, artifact)
    peer, missing = _peer(name, checkpoint, build, given.peer_venv)
    manifest = read_manifest(artifact)
    threads = given.threads or default_threads()
    plain, times, memory = list(_workloads(manifest)), {}, {}
    for dtype in dict.fromkeys(dtype for _, dtype in targets_here()):
        systems = list(_systems(embedder, dtype, checkpoint, artifact, peer))
        report = measure(systems, plain, threads=threads, budget_s=given.seconds, progress=to_stderr, leave_out=False)
        times |= times_of(report)
        memory |= {system.name: weigh(system, plain[-1:], threads)[0] for system in systems}
    return {
        **found,
        "busy_before": busy,
        "environment": environment(),
        "peer_missing": missing,
        "sizes": {"checkpoint": size_of(checkpoint, "*.safetensors"), "artifact": size_of(artifact, "*")},
        "limit": manifest.model.text.max_seq_length,
        "cosine": {f"{p.executor} {p.dtype}": p.checks["cosine"].value for p in manifest.parity},
        "forms": {graph.strategy: sorted(graph.forms) for graph in manifest.graphs},
        "times": times,
        "memory": memory,
        "held": {f"{t} {d}": _held(embedder, artifact, t, d, threads, plain[-1].batches) for t, d in targets_here()},
        "instruction": _instruction(embedder, manifest, artifact, threads, given.seconds),
    }


def _exports(name: str, embedder: Embedder, checkpoint: Path, artifact: Path) -> dict[str, Any]:
    """With default arguments where the model is to be, and as it is timed, which stays."""
    published = None
    if embedder.as_published:
        folder = artifact.with_name("as-published")
        published = run_export(name, checkpoint, folder, [])
        shutil.rmtree(folder)
    # The latency stage is left out, the choice of a form is not.
    options = ["--max-seq-length", "512", "--bench-seconds", "1"]
    for target, dtype in targets_here():
        options += ["--target", target, "--dtype", dtype]
    return {"as_published": published, "export": run_export(name, checkpoint, artifact, options)}


def _peer(name: str, checkpoint: Path, build: Path, venv: Path | None) -> tuple[Path | None, str]:
    """The export of optimum; or why there is none."""
    if venv is None:
        return None, "left out"
    print(f"{name}: {PEER}", file=sys.stderr, flush=True)
    try:
        return export_optimum(checkpoint, build, venv, {PEER: ()})[PEER], ""
    except RuntimeError as error:
        return None, str(error).splitlines()[-1]


def _held(
    embedder: Embedder, artifact: Path, target: str, dtype: str, threads: int, batches: Sequence[Batch]
) -> dict[str, float]:
    arguments = {"directory": str(artifact), "strategy": embedder.pooling, "dtype": dtype, "target": target}
    with OwnProcess("bench.embedders.held:held", arguments, threads, batches) as process:
        found: dict[str, float] = process.result()
        return found


def _systems(embedder: Embedder, dtype: str, checkpoint: Path, artifact: Path, peer: Path | None) -> Iterator[System]:
    """All that computes in a precision: PyTorch, which the others are compared with, the artifact, and the peer."""
    base = pytorch(embedder, checkpoint, dtype)
    yield base
    for target in (target for target, of in targets_here() if of == dtype):
        yield ours(embedder, artifact, target, dtype)
        if peer is not None:
            settings = {"precision": {"fp32": "f32", "bf16": "bf16"}[dtype]} if target == "openvino" else {}
            yield System(
                *(f"{PEER}, {target} {dtype}", embedder.pooling, dtype, target, f"bench.load_{target}:load"),
                {"path": str(peer), **settings},
                base.name,
            )


def _workloads(manifest: Manifest) -> Iterator[Workload]:
    text, rng = manifest.model.text, np.random.default_rng(_SEED)
    for tokens in ALONE:
        yield Workload(f"1x{tokens}", (_batch([tokens], text, rng),))
    yield Workload(RAGGED, (_batch(ragged_lengths(rng, 8, 512).tolist(), text, rng),))


def _batch(lengths: Sequence[int], text: Text, rng: np.random.Generator) -> Batch:
    return filled(lengths, np.arange(2, 258, dtype=np.int64), text, rng)


def _instruction(
    embedder: Embedder, manifest: Manifest, artifact: Path, threads: int, seconds: float
) -> dict[str, Any]:
    """The whole run against what follows the folded prompt, for short queries; empty where none is folded."""
    if not manifest.folded_prompts:
        return {}
    ids, rng = manifest.folded_prompts[0].ids, np.random.default_rng(_SEED)
    loads = {"whole": "exporter.measure.load_artifact:load", "folded": "bench.embedders.load:folded"}
    systems = [
        ours(embedder, artifact, target, dtype, load, f"{target} {dtype} {kind}", f"{target} {dtype} whole")
        for target, dtype in targets_here()
        for kind, load in loads.items()
    ]
    made = []
    for rows in ROWS:
        for query in QUERIES:
            tails = rng.integers(2, 258, (rows, query))
            whole = np.concatenate([np.tile(np.array(ids, np.int64), (rows, 1)), tails], axis=1)
            made.append(Workload(f"{rows}x{query}", (Batch(whole, np.ones_like(whole)),)))
    report = measure(systems, made, threads=threads, budget_s=seconds, progress=to_stderr, leave_out=False)
    return {"tokens": len(ids), "times": times_of(report)}


def tables(kept: Mapping[str, Any]) -> str:
    """What was measured, as the page shows it."""
    exports = [
        [
            name,
            "512 tokens" if export is m["export"] else "as published",
            f"{export['validated_up_to']}",
            f"{export['wall_s']:.0f}",
            markdown.mib(export["peak_tree_bytes"]),
            f"{m['sizes']['checkpoint'] / 2**20:.0f} -> {m['sizes']['artifact'] / 2**20:.0f}",
            f"1 - {1 - min(v for k, v in m['cosine'].items() if k.endswith('fp32')):.0e}",
        ]
        for name, m in kept.items()
        for export in (m["export"], m["as_published"])
        if export
    ]
    heads = ["model", "export", "validated tokens", "s", "peak MiB", "checkpoint -> artifact MiB", "cosine at least"]
    shapes = [f"1x{tokens}" for tokens in ALONE] + [RAGGED]
    times = [
        [name, system, *(_cell(of_system[shape]) for shape in shapes), markdown.mib(m["memory"].get(system))]
        for name, m in kept.items()
        for system, of_system in m["times"].items()
    ]
    prompts = [
        [
            name,
            system.removesuffix(" folded"),
            *(f"{of[f'{r}x{q}']['faster']['median']:.2f}x" for r in ROWS for q in QUERIES),
        ]
        for name, m in kept.items()
        for system, of in m["instruction"].get("times", {}).items()
        if system.endswith(" folded")
    ]
    memory = [
        [name, system, f"{of['load_s']:.1f}", *(_pair(of, behind) for behind in ("", "_after"))]
        for name, m in kept.items()
        for system, of in m["held"].items()
    ]
    parts = [
        markdown.table(heads, exports),
        markdown.table(["model", "system", *shapes, "MiB"], times),
        markdown.table(["model", "runtime", "load s", "loaded MiB", "after ragged rows MiB"], memory),
    ]
    if prompts:
        parts.append(markdown.table(["model", "runtime", *(f"{r}x{q}" for r in ROWS for q in QUERIES)], prompts))
    parts.append(markdown.machines({name: m["environment"] for name, m in kept.items()}))
    return "\n\n".join(parts)


def _pair(held: Mapping[str, Any], behind: str) -> str:
    return f"{markdown.mib(held[f'private{behind}'])} + {markdown.mib(held[f'mapped{behind}'])}"


def _cell(found: Mapping[str, Any]) -> str:
    mark = "?" if found["disturbed"] else ""
    return f"{markdown.number(found['ms']['median'])} ms ({found['faster']['median']:.2f}x{mark})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.embedders", description=__doc__)
    parser.add_argument("--model", action="append", choices=list(EMBEDDERS), help="only this one; repeats")
    parser.add_argument("--seconds", type=float, default=120, help="for the windows of a model (default: 120)")
    parser.add_argument("--threads", type=int, help="of every system (default: the cores)")
    parser.add_argument("--peer-venv", type=Path, default=Path("build/peer-venv"), help="default: %(default)s")
    parser.add_argument("--build", type=Path, default=Path("build/bench/embedders"), help="default: %(default)s")
    parser.add_argument("--kept", action="store_true", help="export nothing that was exported before, time it again")
    parser.add_argument("--render", action="store_true", help="measure nothing, make the tables again")
    return parser


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(code)
