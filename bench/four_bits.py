"""Weights in 4 bits, by NNCF, with and without its ways to make up for the error: what the vectors lose.

`python -m bench.four_bits` exports all-MiniLM-L6-v2, real weights, makes an environment with NNCF, and writes
bench/results/four_bits.json and the table of docs/numerics.md. Weights alone are in 4 bits: nothing is told of time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import markdown
from bench.exports import Environment, environment_of, export_ours, versions
from bench.models import installed_minilm
from exporter.host.environment import environment
from exporter.model.checkpoint.read import read_spec
from exporter.parity.compare import compare
from exporter.parity.tokens import Tokens, make_batch, read_texts, sorted_groups
from exporter.quantization.texts import calibration_texts
from exporter.spec.model import Source

NNCF = Environment((("nncf==3.4.0", "openvino==2026.4.1"),), ("nncf", "openvino", "numpy"))
LEAST_COSINE, LEAST_SHARED = 0.99, 0.9
"""What 4 bits would have to hold: of the worst text, and of the ten nearest neighbours on average."""
_TIE = 1e-5
_PAGE = Path("docs/numerics.md")
BEGIN = "<!-- what `python -m bench.four_bits` measured: begin -->"
END = "<!-- what `python -m bench.four_bits` measured: end -->"


def batches(tokens: Tokens, groups: Sequence[Sequence[int]]) -> list[npt.NDArray[np.int64]]:
    """Ids and mask of each group of rows, int64 [rows, 2, tokens]."""
    made = [make_batch(tokens, group) for group in groups]
    return [np.stack([batch.input_ids, batch.attention_mask], axis=1) for batch in made]


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    heads = ["weights in 4 bits, groups of 32", "worst cosine", "mean", "top-10"]
    rows = [
        [name, of["failed"], "-", "-"]
        if "failed" in of
        else [name, f"{of['worst']:.4f}", f"{of['mean']:.4f}", f"{of['top_10']:.3f}"]
        for name, of in result["variants"].items()
    ]
    said = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{markdown.table(heads, rows)}\n\n{result['model']}, {result['texts']} texts; {said}."


def main() -> int:
    """Compress, compare, write the result, print the table."""
    arguments = argparse.ArgumentParser(prog="python -m bench.four_bits", description=__doc__)
    arguments.add_argument("--build", type=Path, default=Path("build/bench/nncf"), help="the environment's folder")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/four_bits.json"))
    given = arguments.parse_args()
    spec = read_spec(Source("all-MiniLM-L6-v2", installed_minilm(), None))
    programs = environment_of(NNCF, given.build)
    judged, calibrating = read_texts(spec, (), spec.text.max_seq_length), calibration_texts(spec, ())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        export_ours(installed_minilm(), scratch / "artifact", (("onnxruntime", "fp32"),), ("mean",))
        groups = sorted_groups(judged)
        alone = [[row] for row in range(len(calibrating.rows))]
        named = [("calibrate", batches(calibrating, alone)), ("judge", batches(judged, groups))]
        arrays = {f"{kind}_{number:03}": array for kind, those in named for number, array in enumerate(those)}
        np.savez(scratch / "tokens.npz", **arrays)
        worker = Path(__file__).with_name("four_bits_worker.py")
        line = [programs / "python", worker, scratch / "artifact/onnx/mean_fp32.onnx", scratch / "tokens.npz"]
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([*map(str, line), str(scratch / "vectors.npz")], check=True, env=variables, stdout=sys.stderr)
        found = dict(np.load(scratch / "vectors.npz"))
    exact = found.pop("")
    variants: dict[str, Mapping[str, Any]] = {}
    for name, vectors in found.items():
        if vectors.dtype.kind == "U":
            variants[name] = {"failed": str(vectors)}
            continue
        against = compare(exact, vectors, _TIE)
        variants[name] = {
            "worst": float(against.cosine.min()),
            "mean": float(against.cosine.mean()),
            "top_10": float(against.neighbours.mean()),
        }
    result = {
        "model": "all-MiniLM-L6-v2",
        "texts": len(judged.texts),
        "variants": variants,
        "versions": versions(NNCF, programs),
        "environment": environment(),
    }
    given.output.write_text(json.dumps(result, indent=1) + "\n")
    markdown.between(_PAGE, BEGIN, END, table(result))
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
