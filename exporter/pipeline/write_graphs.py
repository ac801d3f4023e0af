"""Graphs of every strategy, dtype and form, written so that those of one dtype share one weights file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from exporter.artifact.layout import PORTABLE_GRAPH, graph_path, weights_path
from exporter.host.console import Console, Stage
from exporter.pipeline.quantize import EightBits, Wanted
from exporter.pipeline.recipes import (
    Notes,
    SharedEncoder,
    StrategyGraph,
    TypedGraph,
    build_graph,
    fold_behind_prompt,
    fold_portable,
    fold_strategy,
    slice_attention,
)
from exporter.spec.model import DType, Form
from graphs.files.summary import summarise
from graphs.files.weights import save_graphs
from graphs.pooling.strategy import Strategy, strategy_name
from poolfold.manifest import Graph, PaddingFree, Portable, Precision, Prompted
from poolfold.sessions.targets import Runs, find_target

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
    eight_bits: Mapping[Wanted, EightBits] | None = None,
    portable: Strategy | None = None,
) -> tuple[tuple[Graph, ...], Portable | None]:
    """Build and write every graph; returns what the manifest says of each.

    Args:
        directory: the artifact.
        shared: what the graphs share.
        strategies: one graph for each of them and of `dtypes`, in its plain and its padding-free form.
        dtypes: the precisions.
        packed: those that engines are built of, which take the packed form besides.
        console: reports progress of this stage.
        prompted: the strategies that take the prompted form besides, in fp32 and int8.
        eight_bits: what graphs in 8 bits are made by, each target its own.
        portable: the strategy of the graph for other programs; None for no such graph.
    """
    (directory / "onnx").mkdir()
    described: list[Graph] = []
    with console.stage("graphs") as stage:
        folded = {strategy: _fold(shared, strategy, behind_prompt=strategy in prompted) for strategy in strategies}
        of_targets = eight_bits or {}
        others = None if portable is None else _fold_portable(shared, portable, stage)
        beside = {} if others is None else {directory / PORTABLE_GRAPH: others.model}
        fp32_weights = weights_path(DType.FP32, portable=others is not None)
        listed: dict[str, str | None] = {}
        for dtype in dict.fromkeys(dtypes):
            made = [
                _make(shared, strategy, graph, dtype, target, packed)
                for target in ([t for t, d in of_targets if d is dtype] if dtype.in_8_bits else (None,))
                for strategy, graph in folded.items()
            ]
            places = {one: fp32_weights if dtype is DType.FP32 else one.weights for one in made}
            for weights in dict.fromkeys(places.values()):
                alike = [one for one in made if places[one] == weights]
                files = {directory / path: typed.model for one in alike for path, typed in one.files.items()}
                listed[weights] = _save(directory, weights, files | (beside if dtype is DType.FP32 else {}))
                described += [_describe(one, folded[one.strategy].notes, listed[weights], of_targets) for one in alike]
        if others is not None and DType.FP32 not in dtypes:
            listed[fp32_weights] = _save(directory, fp32_weights, beside)
        _narrate(described, stage)
    shown = None if others is None or portable is None else _describe_portable(portable, others, listed[fp32_weights])
    return tuple(described), shown


def _fold_portable(shared: SharedEncoder, strategy: Strategy, stage: Stage) -> TypedGraph | None:
    """The graph for other programs; None, and a warning, where it would need operators that they lack."""
    try:
        return fold_portable(shared, strategy)
    except ir.passes.InvariantError as error:
        stage.warn(f"{PORTABLE_GRAPH} is left out, and the vectors of tokens with it: {error}.")
        return None


def _save(directory: Path, weights: str, graphs: Mapping[Path, ir.Model]) -> str | None:
    """Write graphs that share weights; the weights' path, or None where all fitted into the graphs."""
    return None if save_graphs(graphs, directory / weights) is None else weights


@dataclass(frozen=True, eq=False)
class _Made:
    """The graphs of one strategy and precision; of one target, in 8 bits.

    forms, sliced: form -> graph.
    """

    strategy: Strategy
    dtype: DType
    target: str | None
    forms: _Forms
    sliced: _Forms

    def path(self, form: Form = Form.PLAIN, *, sliced: bool = False) -> str:
        return graph_path(self.strategy, self.dtype, form, sliced=sliced, target=self.target)

    @property
    def weights(self) -> str:
        """On a CPU targets share the weights of a precision, and none needs those that engines hold."""
        engines = self.target is not None and find_target(self.target).has_engine_files
        return weights_path(self.dtype, self.target if engines else None)

    @property
    def files(self) -> dict[str, TypedGraph]:
        return {
            self.path(form, sliced=part is self.sliced): typed
            for part in (self.forms, self.sliced)
            for form, typed in part.items()
        }


def _make(
    shared: SharedEncoder,
    strategy: Strategy,
    folded: StrategyGraph,
    dtype: DType,
    target: str | None,
    packed: Sequence[DType],
) -> _Made:
    runs = None if target is None else find_target(target).runs
    if runs is Runs.ENGINE:
        wanted = [Form.PLAIN, Form.PACKED]
    else:
        wanted = [Form.PLAIN, Form.PADDING_FREE]
        wanted += [Form.PACKED] * (dtype in packed and target is None) + [Form.PROMPTED] * (dtype is not DType.FP16)
    # In fp32 all targets share a graph, in 8 bits each has its own. Engines attend without holding the scores.
    compiles = runs is Runs.COMPILED
    blocks = compiles or (dtype is DType.FP32 and dtype not in packed)
    forms = {
        form: build_graph(shared, folded.forms[form], dtype, blocks=blocks, target=target)
        for form in wanted
        if form in folded.forms
    }
    # ONNX Runtime's, on a CPU.
    on_cpu = dtype is not DType.FP16 and runs in (None, Runs.GRAPH)
    sliceable = [form for form in folded.forms if form is not Form.PACKED] if on_cpu else []
    parts = ((form, slice_attention(shared, folded.forms[form], dtype, target)) for form in sliceable)
    return _Made(strategy, dtype, target, forms, {form: typed for form, typed in parts if typed is not None})


def _fold(shared: SharedEncoder, strategy: Strategy, *, behind_prompt: bool) -> StrategyGraph:
    folded = fold_strategy(shared, strategy)
    if not behind_prompt:
        return folded
    return replace(folded, forms={**folded.forms, Form.PROMPTED: fold_behind_prompt(shared, strategy)})


def _describe(made: _Made, notes: Notes, weights: str | None, eight_bits: Mapping[Wanted, EightBits]) -> Graph:
    forms, sliced = made.forms, made.sliced
    typed, free = forms[Form.PLAIN], forms.get(Form.PADDING_FREE)
    summary = summarise(typed.model)
    nodes = Counter(node.rule for node in typed.kept)
    why = {node.rule: node.why for node in reversed(typed.kept)}
    return Graph(
        path=made.path(),
        weights=weights,
        strategy=strategy_name(made.strategy),
        dtype=made.dtype,
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
            path=made.path(Form.PADDING_FREE),
            nodes=summarise(free.model).nodes,
            faster_below={},  # `padding_benefit` measures it
        ),
        packed=made.path(Form.PACKED) if Form.PACKED in forms else None,
        passes=dict(notes) | {k: note for t in (*forms.values(), *sliced.values()) for k, note in t.notes.items()},
        status="built",
        prompted=None
        if Form.PROMPTED not in forms
        else Prompted(path=made.path(Form.PROMPTED), nodes=summarise(forms[Form.PROMPTED].model).nodes),
        sliced={made.path(form): made.path(form, sliced=True) for form in sliced},
        quantized=eight_bits[made.target, made.dtype].describe(made.target, typed.layers) if made.target else None,
    )


def _describe_portable(strategy: Strategy, graph: TypedGraph, weights: str | None) -> Portable:
    return Portable(
        path=PORTABLE_GRAPH,
        weights=weights,
        strategy=strategy_name(strategy),
        opset=graph.model.opset_imports[""],
        nodes=summarise(graph.model).nodes,
    )


def _narrate(graphs: Sequence[Graph], stage: Stage) -> None:
    stage.outcome = ", ".join(f"{g.strategy} {g.dtype}{_whose(g)} {g.nodes} nodes" for g in graphs)
    kept = {rule.rule: rule for graph in graphs for rule in graph.kept_fp32}
    for rule in kept.values():
        if rule.rule != "pooling":
            stage.warn(f"fp16: {rule.nodes} nodes stay fp32 by the rule {rule.rule}: {rule.why}")


def _whose(graph: Graph) -> str:
    return f" for {graph.quantized.target}" if graph.quantized else ""
