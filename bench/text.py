"""`make bench-text`: texts to vectors, tokenising included: poolfold beside other programs that embed texts.

MiniLM's mean over paragraphs of docstrings, all at once and one at a time, every system in a process of its own with
the same number of threads. Vectors of the first texts are held against sentence-transformers' before anything is timed:
all do the same work. Writes bench/results/text.json, a run for each kind of processor, and README's tables. Method and
reading: bench/README.md.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import markdown
from bench.docstrings import paragraphs
from bench.exports import EMBED_ANYTHING, FASTEMBED, GENAI, INFINITY, environment_of, export_ours, versions
from bench.goals import LIMITS, smallest_cosine
from bench.load_texts import LOCAL
from bench.models import installed_minilm
from bench.systems import OURS, ours_on_processor
from bench.turns import to_stderr
from exporter.comparison.token_embeddings import FILE
from exporter.host.child_process import OwnProcess
from exporter.host.environment import busy_share
from exporter.measure.interleave import measure
from exporter.measure.quartiles import quartiles
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from exporter.spec.origin import NO_TRUST
from poolfold.errors import CheckFailed
from poolfold.sessions.threads import default_threads
from poolfold.tokenise import Tokenizer

RESULTS, README = Path("bench/results/text.json"), Path("README.md")
BEGIN, END = "<!-- what `make bench-text` measured: begin -->", "<!-- what `make bench-text` measured: end -->"
BASELINE, ONE = "sentence-transformers", "1 text"
_BUILD = Path("build/bench/text")
_MEAN = "mean"
_BATCH, _FASTEMBED_BATCH = 32, 256
"""poolfold's and sentence-transformers' default, and fastembed's."""
_KEPT = 1200
"""Fewer texts are not kept."""
_COMPARED = 600
"""Texts whose vectors are held against sentence-transformers'."""


_ENVIRONMENTS = {
    "fastembed": FASTEMBED,
    "genai": GENAI,
    "infinity": INFINITY,
    "embed-anything": EMBED_ANYTHING,
}
"""What is not in this environment, each in one of its own."""


@dataclass(frozen=True)
class Peer:
    """The interpreter of a peer's own environment, and the folder that it loads."""

    python: str
    folder: Path


def systems(
    model: Path, artifact: Path, peers: Mapping[str, Peer], texts: Sequence[str], threads: int, limit: int
) -> tuple[list[System], dict[str, str]]:
    """What is timed, the baseline first, and what cannot run here, with the reason. `peers` as `_ENVIRONMENTS`."""

    def system(
        name: str, dtype: str, runtime: str, load: str, batch_size: int, own: Mapping[str, Any], python: str = ""
    ) -> System:
        arguments = {**own, "texts": list(texts), "batch_size": batch_size}
        load = f"bench.load_texts:{load}"
        return System(name, _MEAN, dtype, runtime, load, arguments, BASELINE, python=python)

    entries = ours_on_processor(artifact, threads, (_MEAN,))
    dim = read_spec(Source(model.name, model, None)).hidden_size
    folder = {name: {"folder": str(peer.folder)} for name, peer in peers.items()}
    python = {name: peer.python for name, peer in peers.items()}
    fastembed = {**folder["fastembed"], "graph": FILE, "dim": dim}
    torch = {"folder": str(model), "strategy": _MEAN}
    genai = {**folder["genai"], "limit": limit}
    precisions = [e.dtype for e in entries if e.runtime == "openvino" and not e.missing]
    return [
        system(BASELINE, "fp32", "pytorch", "load_sentence_transformers", _BATCH, torch),
        *(system(e.label, e.dtype, e.runtime, "load_ours", _BATCH, e.arguments) for e in entries if not e.missing),
        *(
            system(name, "fp32", "onnxruntime", "load_fastembed", size, fastembed, python["fastembed"])
            for name, size in (("fastembed", _FASTEMBED_BATCH), (f"fastembed, {_BATCH} at once", _BATCH))
        ),
        *(
            system(
                *(f"openvino-genai {dtype}", dtype, "openvino", "load_genai", _BATCH, {**genai, "dtype": dtype}),
                python["genai"],
            )
            for dtype in precisions
        ),
        *(
            system(name, "fp32", runtime, load, _BATCH, folder[name], python[name])
            for name, runtime, load in (
                ("infinity", "pytorch", "load_infinity"),
                ("embed-anything", "candle", "load_embed_anything"),
            )
        ),
    ], {entry.label: entry.missing for entry in entries if entry.missing}


def smallest_cosines(measured: Sequence[System], threads: int) -> dict[str, float]:
    """Each system's smallest cosine with the first one's vector of the same text, among the first texts.

    Raises:
        CheckFailed: a system does other work than the first one.
    """
    cosines: dict[str, float] = {}
    wanted = None
    for system in measured:
        print(f"vectors of {system.name}", file=sys.stderr)
        texts = system.arguments["texts"]
        assert isinstance(texts, list)
        arguments = {**system.arguments, "texts": texts[:_COMPARED]}
        request = ("bench.load_texts:vectors", system.load, arguments, threads)
        with OwnProcess(*request, python=system.python, quiet=True) as process:
            vectors = process.result()
        wanted = vectors if wanted is None else wanted
        cosines[system.name] = smallest_cosine([vectors], [wanted])
        if cosines[system.name] < LIMITS[system.dtype]:
            raise CheckFailed(
                f"{system.name}: a vector has cosine {cosines[system.name]:.7f} with that of {measured[0].name}, "
                f"expected {LIMITS[system.dtype]} or more: the two do not do the same work"
            )
    return cosines


def timed(measured: Sequence[System], rows: int, threads: int, seconds: float) -> LatencyReport:
    """One text a call, and all texts, whose windows are one call each."""
    loads = [
        Workload(name, (Batch(ones, ones),))
        for name, ones in ((ONE, np.ones((1, 1), np.int64)), (f"{rows} texts", np.ones((rows, 1), np.int64)))
    ]
    return measure(measured, loads, threads=threads, budget_s=seconds, progress=to_stderr, leave_out=False)


def kept(measured: Sequence[System], cosines: Mapping[str, float], report: LatencyReport) -> list[dict[str, Any]]:
    """A row for each system, with every round's windows, their quartiles, and the memory that it added."""
    memory = {m.system: m.increase_bytes for m in report.memory}
    timings = {(timing.system, timing.workload): timing for timing in report.timings}
    shape = report.workloads[-1]
    return [
        {
            "system": system.name,
            "runtime": system.runtime,
            "dtype": system.dtype,
            "batch_size": system.arguments["batch_size"],
            "smallest_cosine": cosines[system.name],
            "windows_ms": [round(ms, 2) for ms in timing.windows_ms],
            "texts_per_s": asdict(quartiles([shape.batch / ms * 1e3 for ms in timing.windows_ms])),
            "speedup": asdict(timing.speedup),
            "one_text": {
                "latency_ms": asdict(one.latency_ms),
                "p90_ms": one.p90_ms,
                "speedup": asdict(one.speedup),
                "disturbed": one.disturbed,
            },
            "increase_bytes": memory[system.name],
            "disturbed": timing.disturbed,
        }
        for system in measured
        for timing, one in [(timings[system.name, shape.name], timings[system.name, ONE])]
    ]


def readme_tables(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands between the markers of README.md: instructions of a processor -> its run, the most capable first."""
    told = (
        f"Median [quartiles] of the rounds. *ms*: one text a call, each of another length. *faster*: over {BASELINE}; "
        "`?` marks what other programs disturbed. *MiB*: what model and texts add to the process."
    )
    return "\n\n".join([told, *(_table(kept[name]) for name in sorted(kept, key=len, reverse=True))])


def _table(found: Mapping[str, Any]) -> str:
    rows = [
        [
            row["system"],
            f"{median:.0f} [{q1:.0f}, {q3:.0f}]",
            f"{row['speedup']['median']:.2f}x{'?' * row['disturbed']}",
            f"{one['latency_ms']['median']:.1f} [{one['latency_ms']['q1']:.1f}, {one['latency_ms']['q3']:.1f}]",
            f"{one['speedup']['median']:.2f}x{'?' * one['disturbed']}",
            markdown.mib(row["increase_bytes"]),
        ]
        for row in sorted(found["systems"], key=lambda row: -row["texts_per_s"]["median"])
        for (q1, median, q3), one in [(row["texts_per_s"].values(), row["one_text"])]
    ]
    texts, environment = found["texts"], found["environment"]
    told = (
        f"{texts['number']} paragraphs of {texts['tokens'] / texts['number']:.0f} tokens on average, {found['model']}, "
        f"{found['rounds']} rounds, {found['threads']} threads, {environment['cpu']} ({environment['instructions']}), "
        f"poolfold {environment['versions']['poolfold']}:"
    )
    return f"{told}\n\n{markdown.table(['system', 'texts/s', 'faster', 'one text, ms', 'faster', 'MiB'], rows)}"


def _fastembed_folder(model: Path, folder: Path, limit: int) -> Path:
    """The model as fastembed takes it: a graph of token vectors, the tokeniser, and the model's own limit."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with OwnProcess("exporter.comparison.token_embeddings:write", str(model), None, NO_TRUST, folder) as process:
        process.result()
    for name in ("tokenizer.json", "special_tokens_map.json", "config.json"):
        shutil.copy(model / name, folder / name)
    config = json.loads((model / "tokenizer_config.json").read_text())
    # fastembed cuts texts to this; sentence-transformers to the limit in its own file.
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": limit}))
    return folder


def _genai_folder(artifact: Path, python: str, folder: Path) -> Path:
    """The model as openvino-genai takes it: our graph of token vectors and the tokeniser, as OpenVINO's own files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with OwnProcess("bench.load_texts:write_genai", str(artifact), str(folder), python=python) as process:
        process.result()
    return folder


def _hub_folder(model: Path, folder: Path) -> Path:
    """The model as embed-anything takes it: in the hub's cache of models, under `load_texts.LOCAL`."""
    shutil.rmtree(folder, ignore_errors=True)
    cached = folder / "hub" / f"models--{LOCAL.replace('/', '--')}"
    shutil.copytree(model, cached / "snapshots" / "first")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("first")
    return folder


def main() -> None:
    """Measure, write the result and README's tables, print its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=5000, help=f"{_KEPT} at least to be kept (default: 5000)")
    parser.add_argument("--seconds", type=float, default=60, help="for the windows (default: 60)")
    given = parser.parse_args()
    result = _measured(given.texts, given.seconds)
    if given.texts >= _KEPT:
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        kept[result["environment"]["instructions"]] = result
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        markdown.between(README, BEGIN, END, readme_tables(kept))
    print(_table(result))


def _measured(number: int, seconds: float) -> dict[str, Any]:
    model, threads, busy = installed_minilm(), default_threads(), busy_share()
    spec = read_spec(Source("all-MiniLM-L6-v2", model, None))
    texts = [text for text, _ in paragraphs()[:number]]
    lengths = [len(ids) for ids in Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size).ids(texts, "")]
    bins = {name: environment_of(wanted, Path(f"build/{name}-venv")) for name, wanted in _ENVIRONMENTS.items()}
    python = {name: str(folder / "python") for name, folder in bins.items()}
    export = export_ours(model, _BUILD / "artifact", OURS, (_MEAN,))
    limit = spec.text.max_seq_length
    folders = {
        "fastembed": _fastembed_folder(model, _BUILD / "fastembed", limit),
        "genai": _genai_folder(_BUILD / "artifact", python["genai"], _BUILD / "genai"),
        "infinity": model,
        "embed-anything": _hub_folder(model, _BUILD / "embed-anything"),
    }
    peers = {name: Peer(python[name], folder) for name, folder in folders.items()}
    measured, missing = systems(model, _BUILD / "artifact", peers, texts, threads, limit)
    cosines = smallest_cosines(measured, threads)
    report = timed(measured, len(texts), threads, seconds)
    return {
        "command": f"python -m bench.text {' '.join(sys.argv[1:])}".strip(),
        "model": spec.source.name,
        "export": export.command,
        "texts": {"number": len(texts), "tokens": sum(lengths), "longest": max(lengths)},
        "threads": report.threads,
        "rounds": report.workloads[-1].rounds,
        "busy": busy,
        "seconds": report.seconds,
        "systems": kept(measured, cosines, report),
        "missing": missing,
        "environment": report.environment,
        "versions": {name: versions(wanted, bins[name]) for name, wanted in _ENVIRONMENTS.items()},
    }


if __name__ == "__main__":
    main()
