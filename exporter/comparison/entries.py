"""What is compared: strategies of a model, and other models' own, each with the artifact that a user would ship.

An artifact is exported once and reused until the model or the options change.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.host.console import Console
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.spec.build_options import BuildOptions
from exporter.spec.choices import choose_strategies
from exporter.spec.model import DType, ModelSpec
from exporter.spec.options import ExportOptions, Layout
from exporter.spec.origin import TokenizerSource, Trust
from graphs.pooling.head import Cut
from graphs.pooling.strategy import strategy_name
from poolfold.errors import InputError, PoolfoldError
from poolfold.hub import artifact_or_none
from poolfold.manifest import Manifest
from poolfold.verify import verify

STRATEGIES = ("cls", "mean", "max")
"""Compared where none is named, with what the checkpoint was trained with."""


@dataclass(frozen=True)
class CompareOptions:
    """The parameters of `exporter.compare`, whose signature has the defaults.

    model: a model, or an artifact.
    data: what the task was read from, as the user named it.
    against: other models or artifacts, of which the strategies that they were trained with take part.
    folder: where what is made is kept.
    dtypes: the first is what a verdict goes by.
    margin: a difference of less on the metric that decides counts as none.
    """

    model: str
    data: str
    against: tuple[str, ...]
    folder: Path
    pooling: tuple[str, ...]
    dtypes: tuple[DType, ...]
    revision: str | None
    threads: int | None
    seconds: float
    skip_cost: bool
    trust: Trust
    margin: float = 0.01
    tokenizer: TokenizerSource = TokenizerSource.FILE


@dataclass(frozen=True)
class Entry:
    """One strategy of one model.

    name: the strategy's; of a model named with --against, the model's name and the strategy's.
    model: what a user names to export it.
    trained: whether its model was trained with it.
    given: the user's own artifact, as they named it; empty where it was exported here.
    """

    name: str
    strategy: str
    model: str
    artifact: Path
    manifest: Manifest
    trained: bool
    given: str = ""

    @property
    def dimensions(self) -> int:
        """Values of a vector."""
        return next(s.dim for s in self.manifest.strategies if s.name == self.strategy)

    def disk_bytes(self, dtype: str) -> int:
        """Bytes of its graph and weights on disk; 0 where it has none in that precision."""
        graph = self.manifest.graph(self.strategy, dtype)
        sizes = {file.path: file.bytes for file in self.manifest.files}
        return 0 if graph is None else sizes[graph.path] + sizes.get(graph.weights or "", 0)


def make_entries(options: CompareOptions, console: Console, *, needs_trained: bool = False) -> tuple[Entry, ...]:
    """Every strategy that takes part, those of `options.model` first; exports what has no artifact yet.

    `needs_trained`: there is no comparison without what that model was trained with.

    Raises:
        PoolfoldError: bad input, or an export that failed.
    """
    pooling = (*options.pooling, "trained") if needs_trained and options.pooling else options.pooling
    entries = _entries(options, options.model, options.folder / "artifact", console, pooling, needs_trained)
    for number, model in enumerate(options.against, start=2):
        own = _entries(options, model, options.folder / f"artifact-{number}", console, None)
        label = Path(model).name
        names = {entry.name for entry in entries}
        entries += [replace(entry, name=_unused(f"{label} {entry.strategy}", names)) for entry in own]
    lacking = [e.name for e in entries for d in options.dtypes[:1] if e.manifest.graph(e.strategy, d) is None]
    if lacking:
        raise InputError(
            f"{', '.join(lacking)} has no graph in {options.dtypes[0]}, by which the verdict goes. Choose another with "
            "--dtype, or name the model instead of its artifact."
        )
    return tuple(entries)


def _unused(name: str, taken: set[str]) -> str:
    number = 2
    unused = name
    while unused in taken:
        unused, number = f"{name} {number}", number + 1
    taken.add(unused)
    return unused


def _entries(
    options: CompareOptions,
    model: str,
    place: Path,
    console: Console,
    pooling: Sequence[str] | None,
    needs_trained: bool = False,
) -> list[Entry]:
    """The strategies of one model: `pooling`, the usual ones where that is empty, its trained one where it is None."""
    given = artifact_or_none(model, options.revision if model == options.model else None)
    if given is not None:
        artifact, manifest = given, verify(given)
        has = [strategy.name for strategy in manifest.strategies]
        trained = manifest.model.trained_strategy
        if needs_trained and trained not in has:
            raise _not_trained(given)
        wanted = [trained or "trained"] if pooling is None else [_named(name, trained) for name in pooling] or has
        for name in wanted:
            if name not in has:
                raise InputError(
                    f"{given} has no strategy {name}; it has {', '.join(has)}. Export it too, or name the model."
                )
    else:
        artifact = place
        manifest, wanted = _exported(options, model, place, pooling, console, needs_trained)
    source = model if given is None else manifest.model.source
    return [
        Entry(name, name, source, artifact, manifest, name == manifest.model.trained_strategy, model if given else "")
        for name in dict.fromkeys(wanted)
    ]


def _named(name: str, trained: str | None) -> str:
    return trained if name == "trained" and trained else name


def _exported(
    options: CompareOptions,
    model: str,
    place: Path,
    pooling: Sequence[str] | None,
    console: Console,
    needs_trained: bool,
) -> tuple[Manifest, list[str]]:
    revision = options.revision if model == options.model else None
    spec = read_spec(resolve_source(model, revision, options.trust), options.trust, options.tokenizer)
    if needs_trained and spec.trained is None:
        raise _not_trained(model)
    wanted = _strategies(spec, pooling, console)
    note = place.with_suffix(".json")
    fingerprint = _fingerprint(model, spec, [wanted, options.dtypes, options.tokenizer])
    if note.is_file() and note.read_text() == fingerprint:
        try:
            manifest = verify(place)
        except PoolfoldError:
            pass  # changed, or incomplete: exported anew
        else:
            with console.stage("export") as stage:
                stage.outcome = f"{model} has not changed: {place} is taken as it is"
            return manifest, wanted
    note.unlink(missing_ok=True)
    manifest = _export(options, model, revision, wanted, place, console)
    note.write_text(fingerprint)
    return manifest, wanted


def _not_trained(model: object) -> InputError:
    return InputError(
        f"texts without labels can only be held against the strategy that a model was trained with; {model} does not "
        "say which, or lacks it. Give scored pairs, labelled texts or a retrieval set."
    )


def _strategies(spec: ModelSpec, pooling: Sequence[str] | None, console: Console) -> list[str]:
    """Names that the checkpoint's head can take; a usual one that it cannot is left out, and said."""
    if pooling is None or pooling:
        return [strategy_name(s) for s in choose_strategies(spec, pooling or ("trained",))]
    names: list[str] = []
    for name in (*(("trained",) if spec.trained else ()), *STRATEGIES):
        try:
            names += [strategy_name(s) for s in choose_strategies(spec, (name,))]
        except InputError as error:
            console.warn(f"{name} is left out: {error}")
    return list(dict.fromkeys(names))


def _export(
    options: CompareOptions, model: str, revision: str | None, pooling: Sequence[str], place: Path, console: Console
) -> Manifest:
    from exporter.pipeline.export_model import export_model

    return export_model(
        ExportOptions(
            model=model,
            output=place,
            pooling=tuple(pooling),
            dtypes=options.dtypes,
            targets=("onnxruntime",),
            shapes=None,
            build=BuildOptions(),
            texts=(),
            cut=Cut(),
            revision=revision,
            force=True,
            skip_latency=True,
            bench_seconds=0,
            threads=options.threads,
            trust=options.trust,
            tokenizer=options.tokenizer,
            # What other programs load is nothing that is compared.
            layout=Layout.POOLFOLD,
            token_embeddings=False,
        ),
        console,
    )


def _fingerprint(model: str, spec: ModelSpec, asked: object) -> str:
    """What tells that a model has not changed: its revision; of a folder's files, names, sizes and times."""
    from importlib.metadata import version

    folder = spec.source.folder
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if spec.source.revision is None else []
    facts = [(p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    identity = [version("poolfold"), spec.source.name, spec.source.revision, facts, asked]
    return hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()


def export_command(entry: Entry, options: CompareOptions) -> str | None:
    """The export that gives a user an entry's artifact; None where that artifact is theirs."""
    if entry.given:
        return None
    words = [f"--pooling {entry.strategy}", *(f"--dtype {dtype}" for dtype in options.dtypes)]
    # A folder has no revision, and that of a file is its hash.
    if entry.manifest.model.revision is not None and not Path(entry.model).expanduser().exists():
        words.append(f"--revision {entry.manifest.model.revision}")
    if options.trust.allow_pickle:
        words.append("--allow-pickle")
    if options.trust.trust_remote_code:
        words.append("--trust-remote-code")
    if options.tokenizer is not TokenizerSource.FILE:
        words.append(f"--tokenizer {options.tokenizer}")
    return f"poolfold export {shlex.quote(entry.model)} -o DIR {' '.join(words)}"
