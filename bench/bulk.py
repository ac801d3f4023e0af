"""`python -m bench.bulk`: what `poolfold embed` into a folder costs beside `encode`, and what it holds.

MiniLM over short texts: `encode` of all of them in one process, and the command, in turns. Then the command with a tiny
model over 20,000 and 200,000 texts: its peak memory. Writes bench/results/bulk.json.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from bench.docstrings import sentences
from bench.exports import export_ours
from bench.models import installed_minilm
from bench.systems import OURS
from exporter.host.environment import busy_share, environment
from exporter.measure.quartiles import quartiles

RESULTS = Path("bench/results/bulk.json")
_BUILD = Path("build/bench/bulk")
_WORDS = ("w1 w2 w3", "w4", "w5 w6")
"""That the tiny model knows."""
_ENCODE = """
import sys, time
from pyarrow import parquet
import poolfold
with poolfold.load(sys.argv[1]) as encoder:
    began = time.perf_counter()
    texts = parquet.read_table(sys.argv[2]).column("text").to_pylist()
    encoder.encode(texts)
    print(time.perf_counter() - began)
"""


def write_texts(count: int, some: Sequence[str]) -> Path:
    """A Parquet file of so many short texts, made of some."""
    place = _BUILD / f"texts-{count}.parquet"
    texts = [f"{number} {some[number % len(some)]}" for number in range(count)]
    parquet.write_table(pa.table({"id": list(range(count)), "text": texts}), place)
    return place


def embed(artifact: Path, texts: Path, *more: str) -> dict[str, Any]:
    """The command in a process of its own: seconds of its stage, and peak MiB."""
    output = _BUILD / "vectors"
    command = [sys.executable, "-m", "poolfold", "embed", str(artifact), "-i", str(texts), "-o", str(output)]
    began = time.perf_counter()
    # In a process that ends with it, so that the peak is this run's.
    code = "import resource,subprocess,sys; r=subprocess.run(sys.argv[1:],capture_output=True,text=True,check=True);"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); print(r.stderr)"
    options = ["--id-column", "id", "--force", *more]
    done = subprocess.run([sys.executable, "-c", code, *command, *options], check=True, capture_output=True, text=True)
    peak, said = done.stdout.split("\n", 1)
    rows = sum(parquet.read_metadata(part).num_rows for part in output.glob("part-*.parquet"))
    for part in output.iterdir():
        part.unlink()
    stage = float(said.rsplit("(", 1)[1].split(" s)")[0])
    return {"stage_s": stage, "whole_s": time.perf_counter() - began, "peak_mib": int(peak) >> 10, "rows": rows}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=16_384, help="of MiniLM (default: 16384)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    given = parser.parse_args()
    _BUILD.mkdir(parents=True, exist_ok=True)
    busy = busy_share()
    artifact, tiny = _BUILD / "minilm", _BUILD / "tiny"
    export_ours(installed_minilm(), artifact, OURS[:1], ("mean",))
    if not tiny.exists():
        from tests.artifacts import write_artifact

        write_artifact(tiny)
    memory = {count: embed(tiny, write_texts(count, _WORDS))["peak_mib"] for count in (20_000, 200_000)}
    texts = write_texts(given.texts, [text for text, _ in sentences()])
    alone, bulk = [], []
    for _ in range(given.rounds):
        done = subprocess.check_output([sys.executable, "-c", _ENCODE, str(artifact), str(texts)], text=True)
        alone.append(float(done))
        bulk.append(embed(artifact, texts))
        print(f"encode {alone[-1]:.1f} s, embed {bulk[-1]['stage_s']:.1f} s", file=sys.stderr)
    ratio = quartiles([b["stage_s"] / a for a, b in zip(alone, bulk, strict=True)])
    result = {
        "command": f"python -m bench.bulk {' '.join(sys.argv[1:])}".strip(),
        "texts": given.texts,
        "encode_s": asdict(quartiles(alone)),
        "embed_s": asdict(quartiles([b["stage_s"] for b in bulk])),
        "embed_over_encode": asdict(ratio),
        "rows": [b["rows"] for b in bulk],
        "peak_mib_by_texts": memory,
        "busy": busy,
        "environment": environment(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "environment"}, indent=1))


if __name__ == "__main__":
    main()
