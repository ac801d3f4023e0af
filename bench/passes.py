"""What each graph pass brings, on all-MiniLM-L6-v2 in ONNX Runtime: one variant of the graph a step, interleaved.

Also how long the passes themselves take on graphs of 6, 12 and 24 layers. Method and reading: bench/README.md.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bench import batches
from bench.models import installed_minilm, random_bert
from bench.turns import to_stderr
from exporter.measure.interleave import measure
from exporter.measure.quartiles import Quartiles
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System
from exporter.measure.workloads import Workload
from exporter.model.checkpoint.read import read_spec
from exporter.model.pytorch import load_backbone
from exporter.model.trace import export_encoder
from exporter.pipeline.recipes import SharedEncoder, fold_strategy, prepare_encoder
from exporter.spec.model import Form, ModelSpec, Source
from graphs.encoder.cleanup import cleanup
from graphs.encoder.constant_shapes import ConstantShapesPass
from graphs.files.summary import summarise
from graphs.files.weights import save_graphs
from graphs.mask.canonical_mask import CanonicalMaskPass
from graphs.pooling.fold_head import FoldHeadPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Head
from graphs.pooling.strategy import parse_strategy

_WORKLOADS = ("1x16", "1x128", "32x128", "32x128 ragged")
# Threads rest between runs, as poolfold's do.
_SETTINGS = {"session.intra_op.allow_spinning": "0"}


def trace(spec: ModelSpec) -> ir.Model:
    """The encoder of a checkpoint as the exporter traces and cleans it."""
    encoder = export_encoder(load_backbone(spec), spec)
    cleanup(encoder)
    return encoder


def variants(encoder: ir.Model, head: Head) -> dict[str, ir.Model]:
    """Graphs of `mean` and `cls`, each with one pass more than the one before."""

    def folded(source: ir.Model, strategy: str) -> ir.Model:
        graph = source.clone()
        FoldPoolingPass(parse_strategy(strategy))(graph)
        FoldHeadPass(head)(graph)
        cleanup(graph)
        return graph

    shapes = encoder.clone()
    ConstantShapesPass()(shapes)
    masked = shapes.clone()
    CanonicalMaskPass()(masked)
    cleanup(masked)
    cleanup(shapes)
    prepared = encoder.clone()
    prepare_encoder(prepared, 0)
    shared = SharedEncoder(prepared, head)
    mean, cls = (fold_strategy(shared, parse_strategy(name)).forms for name in ("mean", "cls"))
    return {
        "mean: as traced": folded(encoder, "mean"),
        "mean: constant shapes": folded(shapes, "mean"),
        "mean: canonical mask": folded(masked, "mean"),
        "mean: look-ups and sums (plain)": mean[Form.PLAIN],
        "mean: padding-free": mean[Form.PADDING_FREE],
        "cls: as traced": folded(encoder, "cls"),
        "cls: without push-down": folded(prepared, "cls"),
        "cls: row push-down (plain)": cls[Form.PLAIN],
        "cls: padding-free": cls[Form.PADDING_FREE],
    }


def timed(graphs: Mapping[str, ir.Model], workloads: Sequence[Workload], seconds: float) -> LatencyReport:
    """Each graph on each batch in turns, each compared with its strategy's graph as traced."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{number}.onnx" for number, name in enumerate(graphs)}
        save_graphs({paths[name]: graph for name, graph in graphs.items()}, Path(folder) / "weights.bin")
        systems = [
            System(
                name,
                *(name.partition(":")[0], "fp32", "onnxruntime", "bench.load_onnxruntime:load_folded"),
                {"path": str(path), "settings": _SETTINGS},
                baseline=f"{name.partition(':')[0]}: as traced",
            )
            for name, path in paths.items()
        ]
        return measure(systems, workloads, budget_s=seconds, progress=to_stderr, leave_out=False)


def found(graphs: Mapping[str, ir.Model], report: LatencyReport, layers: Mapping[int, float]) -> dict[str, Any]:
    """What is kept: of each graph its size, and its milliseconds and ratio on each batch."""
    return {
        "model": "all-MiniLM-L6-v2",
        "threads": report.threads,
        "rounds": min(shape.rounds for shape in report.workloads),
        "graphs": {
            name: {"nodes": summary.nodes, "attention": f"{summary.attention_ops} of {summary.attention_layers}"}
            for name, graph in graphs.items()
            for summary in [summarise(graph)]
        },
        "workloads": {
            shape.name: {
                "real_tokens": round(shape.real_tokens / (shape.batch * shape.seq_len), 3),
                "graphs": {
                    t.system: {"ms": _rounded(t.latency_ms), "speedup": _rounded(t.speedup)}
                    for t in report.timings
                    if t.workload == shape.name
                },
            }
            for shape in report.workloads
        },
        "passes_s_by_layers": {str(count): round(seconds, 3) for count, seconds in layers.items()},
        "environment": report.environment,
    }


def _rounded(value: Quartiles) -> dict[str, float]:
    return {name: round(number, 4) for name, number in asdict(value).items()}


def pass_seconds(layers: int, scratch: Path) -> float:
    """Seconds of all passes together for `mean` and `cls`, on a BERT of so many layers and few numbers."""
    folder = scratch / f"{layers} layers"
    # Passes look at nodes, never at weights.
    random_bert(folder, hidden_size=32, num_attention_heads=2, intermediate_size=64, num_hidden_layers=layers)
    encoder = trace(read_spec(Source(folder.name, folder, None)))
    start = time.perf_counter()
    prepare_encoder(encoder, 0)
    for name in ("mean", "cls"):
        fold_strategy(SharedEncoder(encoder, ()), parse_strategy(name))
    return time.perf_counter() - start


def table(result: Mapping[str, Any]) -> str:
    """The result as a Markdown table: nodes, then milliseconds and the ratio to the graph as traced."""
    workloads = list(result["workloads"])
    header = " | ".join(f"{name} ms" for name in workloads)
    lines = [f"| graph | nodes | {header} |", "| --- " * (2 + len(workloads)) + "|"]
    for name, facts in result["graphs"].items():
        rows = [result["workloads"][workload]["graphs"][name] for workload in workloads]
        cells = [f"{row['ms']['median']:.1f} ({row['speedup']['median']:.2f}x)" for row in rows]
        lines.append(f"| {name} | {facts['nodes']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the result, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=150, help="for the windows (default: 150)")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/passes.json"))
    given = arguments.parse_args()
    spec = read_spec(Source("all-MiniLM-L6-v2", installed_minilm(), None))
    graphs = variants(trace(spec), spec.head)
    report = timed(graphs, batches.timed(spec, _WORKLOADS), given.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        result = found(graphs, report, {layers: pass_seconds(layers, Path(scratch)) for layers in (6, 12, 24)})
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
