"""Engines for an artifact made elsewhere: its graphs in, the same artifact with engines out, published whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporter.artifact.draft import Draft
from exporter.artifact.layout import MODEL_CARD
from exporter.artifact.publish import require_apart, staging
from exporter.host.console import Console, count
from exporter.spec.build_options import BuildOptions
from exporter.spec.choices import either
from exporter.spec.model import DType
from exporter.spec.options import Shapes
from exporter.spec.profiles import choose_profiles
from exporter.targets.engines import EngineOrder, make_engines, outcome, require_available, require_supported
from poolfold.errors import InputError
from poolfold.load import read_tokenizer
from poolfold.manifest import Engine, Graph, Manifest, Profile
from poolfold.sessions.targets import find_target
from poolfold.verify import verify
from poolfold.verify.unlisted import list_others


@dataclass(frozen=True)
class BuildRequest:
    """The parameters of `exporter.build`, whose signature has the defaults.

    output: `directory` itself, to add the engines to it.
    strategies, dtypes: empty for all that are there.
    texts: the user's own, for their lengths.
    """

    directory: Path
    output: Path
    targets: tuple[str, ...]
    strategies: tuple[str, ...]
    dtypes: tuple[DType, ...]
    shapes: Shapes
    texts: tuple[str, ...]
    options: BuildOptions
    force: bool


def build_into(request: BuildRequest, console: Console) -> Manifest:
    """Build the engines, and publish the artifact with them; returns its manifest.

    Engines of the same target, strategy, precision and form are replaced; all else stays as it is.

    Raises:
        PoolfoldError: bad input, an unavailable target, a build that failed. Both directories are then as they were.
    """
    require_supported(request.options, dict.fromkeys(request.targets, request.dtypes))
    same = request.output.resolve() == request.directory.resolve()
    if not same:
        require_apart(request.output, [request.directory])
    manifest = verify(request.directory)
    # The model card goes along, as it is.
    others = [name for name in list_others(request.directory, manifest).apart if name != MODEL_CARD] if same else []
    if others:
        raise InputError(
            f"{request.directory} holds what is not part of the artifact and would be lost: "
            f"{', '.join(map(repr, others))}. Write the result elsewhere with -o."
        )
    graphs = choose_graphs(manifest, request)
    profiles = _profiles(request, manifest)
    orders = [
        EngineOrder(target, _share(target, request.dtypes, graphs), profiles, request.options)
        for target in request.targets
    ]
    shares = {order.target: order.dtypes for order in orders}
    require_supported(request.options, shares)
    require_available(shares)
    with staging(request.output, force=request.force or same) as place:
        _copy(request.directory, place.directory, manifest, link=same)
        with console.stage("engines") as stage:
            built = make_engines(
                place.directory, graphs, orders, lambda what, done: stage.progress(int(1000 * done), 1000, what)
            )
            for engine in built:
                for warning in engine.warnings:
                    stage.warn(f"{engine.target} {engine.strategy} {engine.dtype}: {warning}")
            stage.outcome = f"{outcome(built)}; built, not run here"
        with console.stage("publish") as stage:
            written = _describe(place.directory, manifest, built)
            stage.outcome = f"{count(len(written.files), 'file')} in {request.output}"
    return written


def choose_graphs(manifest: Manifest, request: BuildRequest) -> tuple[Graph, ...]:
    """The graphs to build from.

    Raises:
        InputError: a strategy or precision that the artifact does not have.
    """
    for flag, asked, has in (
        ("--strategy", request.strategies, [strategy.name for strategy in manifest.strategies]),
        ("--dtype", request.dtypes, list(dict.fromkeys(graph.dtype for graph in manifest.graphs))),
    ):
        for name in asked:
            if name not in has:
                raise InputError(
                    f"{request.directory} has no graph for {flag} {name}; it has {', '.join(has)}. Take one of these, "
                    "or export the model with it."
                )
    return tuple(
        graph
        for graph in manifest.graphs
        if graph.strategy in (request.strategies or [graph.strategy])
        and graph.dtype in (request.dtypes or [graph.dtype])
    )


def _share(target: str, asked: Sequence[DType], graphs: Sequence[Graph]) -> tuple[DType, ...]:
    """The precisions that the target builds."""
    has = find_target(target)
    own = [graph for graph in graphs if graph.runs_on(target)]
    there = [DType(dtype) for dtype in has.dtypes if any(graph.dtype == dtype for graph in own)]
    wrong = [dtype for dtype in asked if dtype not in there]
    if wrong or not there:
        got = ", ".join(dict.fromkeys(graph.dtype for graph in own)) or "none for it"
        wanted = next((dtype for dtype in wrong if dtype in has.dtypes), has.dtypes[0])
        raise InputError(
            f"--target {target} builds {either(has.dtypes)}: {has.why}. Got graphs in {got}. Export the model "
            f"with --target {target} --dtype {wanted}."
        )
    return tuple(there)


def _profiles(request: BuildRequest, manifest: Manifest) -> tuple[Profile, ...]:
    lengths: list[int] = []
    if request.texts:
        tokenizer = read_tokenizer(request.directory, manifest)
        lengths = [len(row) for row in tokenizer.ids(list(request.texts), "") if row]
    limit = manifest.model.text.max_seq_length
    return choose_profiles(limit, request.shapes, lengths)


def _copy(source: Path, destination: Path, manifest: Manifest, *, link: bool) -> None:
    """The artifact's files; over the artifact itself by links, where there are any: the old names go away then."""
    for entry in manifest.files:
        path = destination / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if link:
            with contextlib.suppress(OSError):
                os.link((source / entry.path).resolve(), path)
        if not path.exists():
            shutil.copyfile(source / entry.path, path)
    if (source / MODEL_CARD).is_file():
        shutil.copyfile(source / MODEL_CARD, destination / MODEL_CARD)


def _describe(directory: Path, before: Manifest, built: Sequence[Engine]) -> Manifest:
    """Write the manifest anew: what was there, without the engines that were replaced, and what was built."""
    engines = {(e.target, e.strategy, e.dtype, e.form): e for e in (*before.engines, *built)}
    # What was checked and timed of an engine that is replaced says nothing of the new one.
    again = {(e.strategy, e.dtype, e.target) for e in built}
    new = {engine.path for engine in built}
    graphs = tuple(
        _without_benefit(graph, {e.target for e in built if (e.strategy, e.dtype) == (graph.strategy, graph.dtype)})
        for graph in before.graphs
    )
    draft = Draft(
        directory,
        before.model,
        before.strategies,
        graphs,
        tuple(engines.values()),
        parity=tuple(row for row in before.parity if (row.strategy, row.dtype, row.ran_on.target) not in again),
        latency=tuple(row for row in before.latency if (row.strategy, row.dtype, row.runtime) not in again),
        latency_left_out=before.latency_left_out,
        folded_prompts=before.folded_prompts,
        portable=before.portable,
        validated_up_to=before.validated_up_to,
        hashed={file.path: file for file in before.files if file.path not in new},
        # Of the machine that the graphs were validated on; what an engine needs stands with the engine.
        environment=before.environment,
    )
    return draft.seal()[1]


def _without_benefit(graph: Graph, targets: Collection[str]) -> Graph:
    """The graph without the shares of padding that were measured on engines which are replaced."""
    free = graph.padding_free
    if free is None or not set(free.faster_below) & set(targets):
        return graph
    left = {target: share for target, share in free.faster_below.items() if target not in targets}
    return msgspec.structs.replace(graph, padding_free=msgspec.structs.replace(free, faster_below=left))
