"""Which strategy, dtype and form of an artifact to run: what was asked for, or else a default that its manifest tells.

Reads the manifest alone; opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from poolfold.errors import ArtifactError, InputError
from poolfold.manifest import Manifest, RunMemory
from poolfold.sessions import targets
from poolfold.sessions.by_padding import FASTER_BELOW
from poolfold.sessions.ort_providers import CPU
from poolfold.sessions.targets import Runs, Target


class Runnable(NamedTuple):
    """What a session can be opened for.

    form: `plain`; `padding-free` or `packed`, which compute real tokens only.
    path: the ONNX graph of that form or the engine, relative to the artifact.
    """

    target: str
    strategy: str
    dtype: str
    form: str
    path: str


def runnables(manifest: Manifest) -> tuple[Runnable, ...]:
    """All of an artifact that runs on this machine: every graph, and the engines whose library and GPU are here."""
    records = {engine.path: engine for engine in manifest.engines}
    return tuple(
        entry
        for target in targets.TARGETS
        for entry in _entries(manifest, target)
        if not target.has_engine_files or target.runs_here(records[entry.path])
    )


def _entries(manifest: Manifest, target: Target) -> tuple[Runnable, ...]:
    """All that an artifact holds for a target, wherever it runs."""
    engines = [engine for engine in manifest.engines if engine.target == target.name]
    match target.runs:
        case Runs.ENGINE:
            return tuple(Runnable(target.name, e.strategy, e.dtype, e.form, e.path) for e in engines)
        case Runs.COMPILED:
            compiled = [(engine, manifest.graph_at(engine.graph)) for engine in engines]
            listed = [(e.strategy, e.dtype, graph) for e, graph in compiled if graph is not None]
        case Runs.GRAPH:
            listed = [(g.strategy, g.dtype, g) for g in manifest.graphs if g.runs_on(target.name)]
    return tuple(
        Runnable(target.name, strategy, dtype, form, path)
        for strategy, dtype, graph in listed
        for form, path in graph.forms.items()
    )


class Choice(NamedTuple):
    """What of an artifact is to run. forms: form -> path, of a graph or an engine."""

    strategy: str
    dtype: str
    forms: Mapping[str, str]


def choose(
    directory: Path, manifest: Manifest, record: Target, strategy: str | None, dtype: str | None, provider: str = CPU
) -> Choice:
    """The forms of a strategy and a dtype, those asked for or else the defaults; `provider` is ONNX Runtime's."""
    trained = next((entry.name for entry in manifest.strategies if entry.trained), None)
    strategy = _choose_name(directory, "strategy", strategy, [entry.name for entry in manifest.strategies], trained)
    entries = [entry for entry in _entries(manifest, record) if entry.strategy == strategy]
    if not entries:
        _refuse_missing(directory, manifest, strategy, record)
    kind = "dtype" if record.runs is Runs.GRAPH else f"{record.name} dtype"
    dtypes = list(dict.fromkeys(entry.dtype for entry in entries))
    dtype = _choose_name(directory, f"{kind} (for strategy {strategy})", dtype, dtypes, "fp32")
    # A GPU's kernels hold no scores; OpenVINO has kernels like them, and gives wrong numbers behind an If.
    sliced = (
        {whole: path for graph in manifest.graphs for whole, path in graph.sliced.items()}
        if record.runs is Runs.GRAPH and provider == CPU
        else {}
    )
    forms = {entry.form: sliced.get(entry.path, entry.path) for entry in entries if entry.dtype == dtype}
    return Choice(strategy, dtype, forms)


def faster_below(manifest: Manifest, target: Target, path: str) -> float:
    """The share of real tokens below which the form that computes them only was faster than the plain one, `path`."""
    engines = manifest.engines if target.has_engine_files else ()
    engine = next((engine for engine in engines if engine.path == path), None)
    graph = manifest.graph_at(path if engine is None else engine.graph)
    if graph is None or graph.padding_free is None:
        return FASTER_BELOW
    return graph.padding_free.faster_below.get(target.name, FASTER_BELOW)


def only_form(manifest: Manifest, target: Target, path: str) -> str | None:
    """The form of a graph that runs every batch on the target's CPU; `path` is any form. None where two forms share."""
    graph = manifest.graph_at(path)
    if graph is None or target.has_engine_files:
        return None
    if graph.prompted is not None:
        return "prompted"
    serves = graph.padding_free is not None and target.name in graph.padding_free.serves_all
    return target.tokens_only_form if serves else None


def run_memory(manifest: Manifest, target: Target, path: str) -> RunMemory | None:
    """What a run of a graph takes on the target's CPU; `path` is any form. None for engines, which run on a GPU."""
    if target.has_engine_files:
        return None
    known, graph = manifest.run_memory(path), manifest.graph_at(path)
    tiled = target.tiles_attention and graph is not None and graph.attention_ops == graph.attention_layers
    if target.runs is not Runs.GRAPH:
        known = msgspec.structs.replace(known, slice=0)  # it runs the forms without slices
    return msgspec.structs.replace(known, score_bytes=0) if tiled else known


def _choose_name(directory: Path, what: str, asked: str | None, has: list[str], preferred: str | None) -> str:
    """What was asked for if the artifact has it; if nothing was, `preferred` where it is there, else the first."""
    if not has:
        raise ArtifactError(f"{directory} has no {what} at all. Export the model again.")
    if asked is None:
        return preferred if preferred in has else has[0]
    if asked not in has:
        raise InputError(f"{directory} has no {what} {asked!r}; it has {', '.join(has)}. Take one, or export it too.")
    return asked


def _refuse_missing(directory: Path, manifest: Manifest, strategy: str, target: Target) -> NoReturn:
    """Say how to get what is not there."""
    name = target.name
    if target.runs is Runs.GRAPH:
        raise ArtifactError(
            f"{directory} has no graph for target {name} and strategy {strategy}. Export the model again with --target "
            f"{name}."
        )
    has = dict.fromkeys(["onnxruntime", *(e.target for e in manifest.engines if e.strategy == strategy)])
    how = (
        f"Build one: poolfold build DIR --target {name}"
        if target.has_engine_files
        else f"Export one: poolfold export MODEL -o DIR --pooling {strategy} --target {name}"
    )
    raise ArtifactError(f"{directory} has no {name} engine for strategy {strategy}; it has {', '.join(has)}. {how}")
