"""What people say of [CLS] and mean, measured with poolfold on all-MiniLM-L6-v2; writes the tables of docs/pooling.md.

    python -m bench.pooling_claims            measure, keep and write; about ten minutes on two cores
    python -m bench.pooling_claims --render   write what is kept

A student is distilled from docstrings of the installed libraries, and `poolfold compare` is run with it on the
illustrative data and on other docstrings, to be told apart by their library.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import markdown
from bench.docstrings import LIBRARIES, sentences
from bench.models import minilm
from exporter.host.environment import environment, load_average

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "pooling_claims.json"
DOCUMENT = ROOT / "docs" / "pooling.md"
BEGIN, END = "<!-- what bench.pooling_claims measured: begin -->", "<!-- what bench.pooling_claims measured: end -->"
STUDENT = "distilled cls"
STRATEGIES = ("mean", "cls", "max", STUDENT)

_DATA = ROOT / "tests" / "data"
_TRAINED_ON = 8000
_OF_A_LIBRARY = 120


def main() -> None:
    """Measure everything, keep it, and write it into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="measure nothing: write what is kept")
    if not parser.parse_args().render:
        before = load_average()
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(Path(scratch))
        found["environment"] = {**environment(), "load_average_before": before, "load_average_after": load_average()}
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    markdown.between(DOCUMENT, BEGIN, END, f"\n{block(json.loads(RESULTS.read_text()))}\n")


def measure(scratch: Path) -> dict[str, Any]:
    """Distil, then compare on each set of data; plain JSON."""
    model = minilm(scratch).checkpoint
    drawn = sentences()
    texts, labels = scratch / "docstrings.txt", scratch / "docstrings by library.csv"
    texts.write_text("\n".join(sentence for sentence, _ in drawn[:_TRAINED_ON]) + "\n")
    _write_labels(labels, drawn[_TRAINED_ON:])
    student = scratch / "distilled"
    started = time.monotonic()
    others = ["--other", str(_DATA / "texts.txt")]
    distilled = _poolfold("distill", str(model), "--texts", str(texts), *others, "-o", str(student))
    seconds = {"distill": time.monotonic() - started}
    quality: dict[str, Any] = {}
    cost: dict[str, Any] = {}
    base = ["compare", str(model), "--against", str(student), "-o", str(scratch / "compared")]
    for data in (_DATA / "pairs.tsv", _DATA / "labels.csv", labels, _DATA / "retrieval"):
        started = time.monotonic()
        first = not cost
        said = _poolfold(*base, "--data", str(data), *([] if first else ["--skip-cost"]))
        seconds[f"compare on {data.name}"] = time.monotonic() - started
        cost = cost or said["cost"]
        quality[data.name] = {name: said[name] for name in ("metric", "units", "leads", "parts")} | {
            "recommended": said["verdict"]["recommended"],
            "significant": said["verdict"]["significant"],
            "strategies": _named(said["strategies"]),
            "fp16_costs": _named(said["precisions"]["fp16"]["against_first"]),
        }
    return {
        "quality": quality,
        "latency": [
            {name: timing[name] for name in ("system", "workload", "latency_ms", "sentences_per_s")}
            for timing in cost["latency"]["timings"]
        ],
        "memory_mib": cost["memory"],
        "threads": cost["latency"]["threads"],
        "closeness": distilled["closeness"],
        "training": distilled["training"],
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def block(found: Mapping[str, Any]) -> str:
    """What stands between the document's markers."""
    quality = [
        [data, of["units"], of["metric"], *(_interval(of["strategies"][name][of["metric"]]) for name in STRATEGIES)]
        for data, of in found["quality"].items()
    ]
    leads = [
        [data, _best(of), "; ".join(f"{lead['over']} {_interval(lead['difference'], '+')}" for lead in of["leads"])]
        for data, of in found["quality"].items()
    ]  # fmt: skip
    halves = [[data, *(f"{of['fp16_costs'][name]['value']:+.4f}" for name in STRATEGIES)]
              for data, of in found["quality"].items()]  # fmt: skip
    times = {(row["system"], row["workload"]): row["latency_ms"]["median"] for row in found["latency"]}
    workloads = list(dict.fromkeys(row["workload"] for row in found["latency"]))
    systems = ("pytorch fp32", "token embeddings fp32", "mean fp32", "cls fp32")
    speed = [
        [w, *(markdown.number(times[system, w]) for system in systems),
         f"{times['mean fp32', w] / times['cls fp32', w]:.2f}"]
        for w in workloads
    ]  # fmt: skip
    lengths = list(found["memory_mib"]["mean fp32"])
    memory = [[system, *(f"{found['memory_mib'][system][n]:.0f}" for n in lengths)] for system in systems]
    closeness = [
        [name, of["before"]["texts"], *(f"{of[when][m]:.3f}" for m in ("cosine", "spearman", "neighbours")
                                        for when in ("before", "after"))]
        for name, of in found["closeness"].items()
    ]  # fmt: skip
    versions = found["environment"]["versions"]
    where = f"{found['environment']['cpu']}, {found['threads']} threads, onnxruntime {versions['onnxruntime']}"
    took = ", ".join(f"{name} {value:.0f} s" for name, value in found["seconds"].items())
    close = ["texts", "number", "cosine before", "after", "spearman before", "after", "top 10 before", "after"]
    tables = {
        "Quality, fp32, with 95 % intervals": (["data", "units", "metric", *STRATEGIES], quality),
        "The best one's lead, with 95 % intervals": (["data", "best", "lead over"], leads),
        "What fp16 costs on the same metric": (["data", *STRATEGIES], halves),
        "Milliseconds for texts x tokens, every row full": (["texts x tokens", *systems, "mean / cls"], speed),
        "MiB that the model and 16 texts add to a process, by tokens of a text": (["system", *lengths], memory),
        "The student beside its teacher, the mean": (close, closeness),
    }
    parts = [part for title, rows in tables.items() for part in (f"### {title}", markdown.table(*rows))]
    last = f"Measured on {where}. Took: {took}; {found['training']['steps']} steps of training."
    return "\n\n".join([*parts, last])


def _named(of: Mapping[str, Any]) -> dict[str, Any]:
    return {STUDENT if name.startswith("distilled ") else name: value for name, value in of.items()}


def _best(of: Mapping[str, Any]) -> Any:
    return max(of["strategies"], key=lambda name: of["strategies"][name][of["metric"]]["value"])


def _interval(value: Mapping[str, float], sign: str = "") -> str:
    return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def _write_labels(path: Path, drawn: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for library in LIBRARIES:
            of = [sentence for sentence, origin in drawn if origin == library][:_OF_A_LIBRARY]
            writer.writerows((sentence, library) for sentence in of)


def _poolfold(*arguments: str) -> Any:
    print("poolfold", *arguments, file=sys.stderr)
    command = [sys.executable, "-c", "from exporter.commands.cli import main; main()", *arguments, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    main()
