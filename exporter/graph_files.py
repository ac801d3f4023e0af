"""Graphs of every strategy and dtype, written so that those of one dtype share one weights file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from exporter.artifact import graph_path, weights_path
from exporter.console import Console
from exporter.recipes import Kitchen, TypedGraph, build_graph
from exporter.spec import DType
from graphs.strategy import Strategy, strategy_name
from graphs.summary import summarise
from graphs.weights import save_graphs
from poolfold.manifest import Graph, Precision


def write_graphs(
    directory: Path, kitchen: Kitchen, strategies: Sequence[Strategy], dtypes: Sequence[DType], console: Console
) -> tuple[Graph, ...]:
    """Build and write every graph; returns what the manifest says of each."""
    (directory / "onnx").mkdir()
    described: list[Graph] = []
    with console.stage("graphs") as stage:
        for dtype in dict.fromkeys(dtypes):
            built = {strategy: build_graph(kitchen, strategy, dtype) for strategy in strategies}
            weights = directory / weights_path(dtype)
            save_graphs({directory / graph_path(s, dtype): typed.model for s, typed in built.items()}, weights)
            shared = weights_path(dtype) if weights.exists() else None
            described += [_describe(s, dtype, typed, shared) for s, typed in built.items()]
        kept = {rule.rule: rule for graph in described for rule in graph.kept_fp32}
        stage.outcome = ", ".join(f"{g.strategy} {g.dtype} {g.nodes} nodes" for g in described)
        for rule in kept.values():
            if rule.rule != "pooling":
                stage.warn(f"fp16: {rule.nodes} nodes stay fp32 by the rule {rule.rule}: {rule.why}")
    return tuple(described)


def _describe(strategy: Strategy, dtype: DType, typed: TypedGraph, weights: str | None) -> Graph:
    summary = summarise(typed.model)
    nodes = Counter(node.rule for node in typed.kept)
    why = {node.rule: node.why for node in reversed(typed.kept)}
    return Graph(
        path=graph_path(strategy, dtype),
        weights=weights,
        strategy=strategy_name(strategy),
        dtype=dtype,
        inputs=tuple(value.name or "" for value in typed.model.graph.inputs),
        output=typed.model.graph.outputs[0].name or "",
        opset=typed.model.opset_imports[""],
        nodes=summary.nodes,
        attention_layers=summary.attention_layers,
        kept_fp32=tuple(Precision(rule=rule, nodes=count, why=why[rule]) for rule, count in nodes.items()),
        status="built",
    )
