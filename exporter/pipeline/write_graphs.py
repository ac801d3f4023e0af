"""Graphs of every strategy, dtype and form, written so that those of one dtype share one weights file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from exporter.artifact.layout import graph_path, weights_path
from exporter.host.console import Console, Stage
from exporter.pipeline.recipes import (
    Notes,
    SharedEncoder,
    StrategyGraph,
    TypedGraph,
    build_graph,
    fold_behind_prompt,
    fold_strategy,
    slice_attention,
)
from exporter.spec.model import DType, Form
from graphs.files.summary import summarise
from graphs.files.weights import save_graphs
from graphs.pooling.strategy import Strategy, strategy_name
from poolfold.manifest import Graph, PaddingFree, Precision, Prompted

_Forms = dict[Form, TypedGraph]


def write_graphs(
    directory: Path,
    shared: SharedEncoder,
    strategies: Sequence[Strategy],
    dtypes: Sequence[DType],
    packed: Sequence[DType],
    console: Console,
    *,
    prompted: Collection[Strategy] = (),
) -> tuple[Graph, ...]:
    """Build and write every graph; returns what the manifest says of each.

    Args:
        directory: the artifact.
        shared: what the graphs share.
        strategies: one graph for each of them and of `dtypes`, in its plain and its padding-free form.
        dtypes: the precisions.
        packed: the precisions that engines are built of, which take the packed form besides.
        console: reports progress of this stage.
        prompted: the strategies that take the prompted form besides, in fp32.
    """
    (directory / "onnx").mkdir()
    described: list[Graph] = []
    with console.stage("graphs") as stage:
        folded = {strategy: _fold(shared, strategy, behind_prompt=strategy in prompted) for strategy in strategies}
        for dtype in dict.fromkeys(dtypes):
            forms = [Form.PLAIN, Form.PADDING_FREE]
            forms += [Form.PACKED] * (dtype in packed) + [Form.PROMPTED] * (dtype is DType.FP32)
            # Engines compute attention without holding its scores.
            blocks = dtype is DType.FP32 and dtype not in packed
            built = {s: _build(shared, graph, dtype, forms, blocks=blocks) for s, graph in folded.items()}
            sliced = {s: _slice(shared, graph) if dtype is DType.FP32 else {} for s, graph in folded.items()}
            weights = directory / weights_path(dtype)
            files = {
                directory / graph_path(s, dtype, form, sliced=part is sliced): typed.model
                for part in (built, sliced)
                for s, typed_forms in part.items()
                for form, typed in typed_forms.items()
            }
            save_graphs(files, weights)
            listed = weights_path(dtype) if weights.exists() else None
            described += [_describe(s, dtype, typed, sliced[s], folded[s].notes, listed) for s, typed in built.items()]
        _narrate(described, stage)
    return tuple(described)


def _fold(shared: SharedEncoder, strategy: Strategy, *, behind_prompt: bool) -> StrategyGraph:
    folded = fold_strategy(shared, strategy)
    if not behind_prompt:
        return folded
    return replace(folded, forms={**folded.forms, Form.PROMPTED: fold_behind_prompt(shared, strategy)})


def _build(
    shared: SharedEncoder, folded: StrategyGraph, dtype: DType, forms: Sequence[Form], *, blocks: bool
) -> _Forms:
    forms = [form for form in forms if form in folded.forms]
    return {form: build_graph(shared, folded.forms[form], dtype, blocks=blocks) for form in forms}


def _slice(shared: SharedEncoder, folded: StrategyGraph) -> _Forms:
    """The forms that ONNX Runtime runs on a CPU, with attention in slices."""
    forms = (form for form in folded.forms if form is not Form.PACKED)
    return {form: typed for form in forms if (typed := slice_attention(shared, folded.forms[form])) is not None}


def _describe(
    strategy: Strategy, dtype: DType, forms: _Forms, sliced: _Forms, notes: Notes, weights: str | None
) -> Graph:
    typed, free = forms[Form.PLAIN], forms.get(Form.PADDING_FREE)
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
        attention_ops=summary.attention_ops,
        kept_fp32=tuple(Precision(rule=rule, nodes=count, why=why[rule]) for rule, count in nodes.items()),
        padding_free=None
        if free is None
        else PaddingFree(
            path=graph_path(strategy, dtype, Form.PADDING_FREE),
            nodes=summarise(free.model).nodes,
            faster_below={},  # `padding_benefit` measures it
        ),
        packed=graph_path(strategy, dtype, Form.PACKED) if Form.PACKED in forms else None,
        passes=dict(notes) | {k: note for t in (*forms.values(), *sliced.values()) for k, note in t.notes.items()},
        status="built",
        prompted=None
        if Form.PROMPTED not in forms
        else Prompted(
            path=graph_path(strategy, dtype, Form.PROMPTED), nodes=summarise(forms[Form.PROMPTED].model).nodes
        ),
        sliced={graph_path(strategy, dtype, form): graph_path(strategy, dtype, form, sliced=True) for form in sliced},
    )


def _narrate(graphs: Sequence[Graph], stage: Stage) -> None:
    stage.outcome = ", ".join(f"{g.strategy} {g.dtype} {g.nodes} nodes" for g in graphs)
    kept = {rule.rule: rule for graph in graphs for rule in graph.kept_fp32}
    for rule in kept.values():
        if rule.rule != "pooling":
            stage.warn(f"fp16: {rule.nodes} nodes stay fp32 by the rule {rule.rule}: {rule.why}")
