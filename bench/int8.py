"""int8 beside fp32 and beside what others make of the same model: time, memory, and what the vectors lose.

`python -m bench.int8` exports all-MiniLM-L6-v2, real weights, and writes bench/results/int8.json. No time stands
without its error: the worst text, the average, the ten nearest neighbours, and whether a text depends on its batch.
"""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import batches, markdown
from bench.exports import export_ours, why_not
from bench.models import installed_minilm
from bench.turns import to_stderr
from exporter.measure.interleave import measure
from exporter.measure.protocol import Embed
from exporter.measure.systems import System, artifact_system
from exporter.model.checkpoint.read import read_spec
from exporter.parity.compare import compare, cosines
from exporter.parity.tokens import Tokens, make_batch, read_texts
from exporter.spec.model import Source
from graphs.pooling.strategy import parse_strategy
from poolfold.manifest import read_manifest
from poolfold.sessions.threads import default_threads

_STRATEGY = "mean"
_SHAPES = ("1x16", "1x128", "32x128", "32x128 ragged")
_TOGETHER, _ALONE = 32, 32
"""Texts of a batch, and texts that are asked for alone besides."""
_TIE = 1e-5
OURS = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
_PAGE = Path("docs/numerics.md")
BEGIN = "<!-- what `python -m bench.int8` measured: begin -->"
END = "<!-- what `python -m bench.int8` measured: end -->"


def systems(artifact: Path, scratch: Path, checkpoint: Path) -> tuple[list[System], dict[str, str]]:
    """What is compared, and what is left out with the reason; the first is what the others' times are divided into."""
    left_out = {f"poolfold {t} {d}": why for t, d in OURS if (why := why_not(t, d))}
    strategy = parse_strategy(_STRATEGY)
    found = [
        replace(artifact_system(artifact, strategy, dtype, target), name=name)
        for target, dtype in OURS
        if (name := f"poolfold {target} {dtype}") not in left_out
    ]
    path = scratch / "dynamic.onnx"
    quantize_dynamically(artifact / "onnx" / f"{_STRATEGY}_fp32.onnx", path)
    peers = [
        _peer("onnxruntime", "load_onnxruntime:load_folded", {"path": str(path), "settings": {}}),
        _peer("pytorch", "load_pytorch:load_int8", {"folder": str(checkpoint)}),
    ]
    return [replace(system, baseline=found[0].name) for system in (*found, *peers)], left_out


def _peer(runtime: str, load: str, arguments: Mapping[str, object]) -> System:
    return System(f"{runtime} dynamic int8", _STRATEGY, "int8", runtime, f"bench.{load}", arguments, "")


def quantize_dynamically(graph: Path, output: Path) -> None:
    """ONNX Runtime's own dynamic quantisation, a scale for each column of a weight."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, output, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])


def accuracy(found: Sequence[System], tokens: Tokens, threads: int) -> dict[str, Mapping[str, float]]:
    """What each system's vectors lose against the first's: of all texts in batches, and of some alone."""
    rows = sorted(range(len(tokens.rows)), key=lambda row: len(tokens.rows[row]))
    groups = [rows[start : start + _TOGETHER] for start in range(0, len(rows), _TOGETHER)]
    alone = rows[:: max(1, len(rows) // _ALONE)][:_ALONE]

    def vectors(embed: Embed, of: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        made = [make_batch(tokens, group) for group in of]
        return np.concatenate([embed(batch.input_ids, batch.attention_mask) for batch in made])

    reference: npt.NDArray[np.float32] | None = None
    results: dict[str, Mapping[str, float]] = {}
    for system in found:
        module, _, function = system.load.partition(":")
        embed = getattr(importlib.import_module(module), function)(**system.arguments, threads=threads)
        together, by_itself = vectors(embed, groups), vectors(embed, [[row] for row in alone])
        reference = together if reference is None else reference
        against = compare(reference, together, _TIE)
        places = [rows.index(row) for row in alone]
        results[system.name] = {
            "worst": float(against.cosine.min()),
            "mean": float(against.cosine.mean()),
            "top_10": float(against.neighbours.mean()),
            "alone": float(cosines(together[places], by_itself).min()),
        }
    return results


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    shapes = list(result["workloads"])
    heads = ["system", *(f"{name}, ms" for name in shapes), "MiB", "worst cosine", "mean", "top-10", "alone"]
    rows = []
    for name, of in result["systems"].items():
        cells = []
        for shape in shapes:
            at = of["ms"][shape]
            cells.append(f"{at['median']:.1f} ({at['speedup']:.2f}x{'?' if at['disturbed'] else ''})")
        loss = of["accuracy"]
        exact = [f"{loss[key]:.5f}" for key in ("worst", "mean")]
        rows.append([name, *cells, of["mib"], *exact, f"{loss['top_10']:.3f}", f"{loss['alone']:.7f}"])
    said = markdown.machines({"All": result["environment"]})
    return "\n\n".join([markdown.table(heads, rows), said])


def main() -> int:
    """Measure, write the result, print the table."""
    arguments = argparse.ArgumentParser(prog="python -m bench.int8", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=150, help="for the windows (default: 150)")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/int8.json"))
    given = arguments.parse_args()
    checkpoint, threads = installed_minilm(), default_threads()
    spec = read_spec(Source("all-MiniLM-L6-v2", checkpoint, None))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        export_ours(checkpoint, scratch / "artifact", OURS, (_STRATEGY,))
        found, left_out = systems(scratch / "artifact", scratch, checkpoint)
        tokens = read_texts(spec, (), spec.text.max_seq_length)
        lost = accuracy(found, tokens, threads)
        report = measure(
            found, batches.timed(spec, _SHAPES), budget_s=given.seconds, threads=threads, progress=to_stderr,
            leave_out=False,
        )  # fmt: skip
        made = read_manifest(scratch / "artifact")
    quantized = next(graph.quantized for graph in made.graphs if graph.quantized)
    result = {
        "model": "all-MiniLM-L6-v2", "strategy": _STRATEGY, "texts": len(tokens.texts), "threads": threads,
        "layers": quantized.layers, "kept": None if quantized.kept is None else quantized.kept.layers,
        "workloads": [shape.name for shape in report.workloads], "left_out": left_out,
        "systems": {
            system.name: {
                "ms": {
                    t.workload: {**asdict(t.latency_ms), "speedup": t.speedup.median, "disturbed": t.disturbed}
                    for t in report.timings if t.system == system.name
                },
                "mib": next(
                    ("-" if m.increase_bytes is None else f"{m.increase_bytes / 2**20:.0f}")
                    for m in report.memory if m.system == system.name
                ),
                "accuracy": lost[system.name],
            }
            for system in found
        },
        "environment": report.environment,
    }  # fmt: skip
    given.output.write_text(json.dumps(result, indent=1) + "\n")
    markdown.between(_PAGE, BEGIN, END, table(result))
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
