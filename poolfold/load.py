"""An artifact directory to an `Encoder`: verify every file, choose strategy and dtype, open the target's session.

The one place that knows which targets run. Knows nothing of a session's inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from poolfold.encoder import Encoder
from poolfold.errors import ArtifactError, InputError, TargetUnavailable
from poolfold.manifest import Engine, Graph, Manifest, Profile, Range, Text
from poolfold.sessions import Session
from poolfold.sessions.by_padding import FASTER_BELOW, ByPadding
from poolfold.sessions.engine import EngineSession, require_fit
from poolfold.sessions.openvino import OpenVinoSession
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.sessions.ort_providers import CPU, Provider, check_provider
from poolfold.sessions.trt_library import ENGINE_TARGETS
from poolfold.tokenise import Tokenizer
from poolfold.verify import verify

TOKENIZER_NAME = "tokenizer.json"
_TARGETS = ("onnxruntime", "openvino", *ENGINE_TARGETS)
_MOST_THREADS = 1024


class Runnable(NamedTuple):
    """What a session can be opened for: `path` is the graph or engine of that form, relative to the artifact."""

    target: str
    strategy: str
    dtype: str
    form: str
    path: str


def runnables(manifest: Manifest) -> tuple[Runnable, ...]:
    """All that runs here of an artifact: every graph in ONNX Runtime, what OpenVINO was checked with, and engines.

    An engine counts where its library and a GPU that it was built for are at hand.
    """
    graphs = {graph.path: graph for graph in manifest.graphs}
    entries = [("onnxruntime", graph.strategy, graph.dtype, graph) for graph in manifest.graphs]
    entries += [(e.target, e.strategy, e.dtype, graphs[e.graph]) for e in manifest.engines if e.target == "openvino"]
    found = [
        Runnable(target, strategy, dtype, form, path)
        for target, strategy, dtype, graph in entries
        for form, path in _forms(graph).items()
    ]
    engines = [e for e in manifest.engines if e.target in ENGINE_TARGETS and _fits_here(e)]
    return (*found, *(Runnable(e.target, e.strategy, e.dtype, e.form, e.path) for e in engines))


def _fits_here(engine: Engine) -> bool:
    try:
        require_fit(engine, Path(engine.path), 0)
    except TargetUnavailable:
        return False
    return True


def _forms(graph: Graph) -> dict[str, str]:
    """The forms of a graph, each with its path."""
    forms = {"plain": graph.path}
    if graph.padding_free is not None:
        forms["padding-free"] = graph.padding_free.path
    if graph.packed is not None:
        forms["packed"] = graph.packed
    return forms


def load(
    directory: str | Path,
    strategy: str | None = None,
    target: str = "onnxruntime",
    dtype: str | None = None,
    *,
    threads: int | None = None,
    spinning: bool = True,
    provider: str = CPU,
    gpu: int = 0,
) -> Encoder:
    """Load an artifact, after a check of every file in it.

    Args:
        directory: what `poolfold export` wrote.
        strategy: one of the artifact's; None for the one the checkpoint was trained with, or else the first.
        target: the runtime.
        dtype: one of the artifact's; None for fp32, or else the first.
        threads: threads of one run; None leaves it to the runtime.
        spinning: whether ONNX Runtime's threads busy-wait between the operators of a run: faster one text at a time,
            dearer beside other work.
        provider: what ONNX Runtime runs on: `cpu`, or on an NVIDIA GPU `cuda`, `tensorrt` or `tensorrt-rtx`.
        gpu: the GPU's number, for a provider or an engine.

    Raises:
        InputError: a strategy, dtype or target that is not there, or fewer threads than one.
        ArtifactError: the directory differs from its manifest, or has nothing for the target.
        TargetUnavailable: the target cannot run here.
    """
    # Before the hashes: those of a large artifact take seconds.
    _check_arguments(target, threads)
    check_provider(provider, target)
    directory = Path(directory)
    return open_encoder(
        directory,
        verify(directory),
        strategy,
        target,
        dtype,
        threads=threads,
        spinning=spinning,
        provider=provider,
        gpu=gpu,
    )


def open_encoder(
    directory: Path,
    manifest: Manifest,
    strategy: str | None = None,
    target: str = "onnxruntime",
    dtype: str | None = None,
    *,
    threads: int | None = None,
    spinning: bool = True,
    provider: str = CPU,
    gpu: int = 0,
    form: str | None = None,
) -> Encoder:
    """As `load`, for a caller that has just verified the directory, or has written it itself.

    form: `plain`, `padding-free` or `packed`, to run every batch on that form of the graph; None for the faster one of
    the first two each time.
    """
    _check_arguments(target, threads)
    check_provider(provider, target)
    trained = next((entry.name for entry in manifest.strategies if entry.trained), None)
    strategy = _choose(directory, "strategy", strategy, [entry.name for entry in manifest.strategies], trained)
    dim = next(entry.dim for entry in manifest.strategies if entry.name == strategy)
    if target in ENGINE_TARGETS:
        dtype, session = _open_engine(directory, manifest, strategy, target, dtype, form, dim, gpu)
    else:
        dtype, graph = _choose_graph(directory, manifest, strategy, target, dtype)
        on = Provider(provider, gpu, () if provider == CPU else _profiles(manifest))

        def open_graph(path: str) -> Session:
            if target == "openvino":
                return OpenVinoSession(directory / path, dtype=dtype, threads=threads)
            return OnnxRuntimeSession(directory / path, threads=threads, spinning=spinning, provider=on)

        session = _open_forms(directory, graph, target, form, open_graph)
    return Encoder(
        session,
        read_tokenizer(directory, manifest),
        strategy=strategy,
        dtype=dtype,
        target=target,
        dim=dim,
        model=manifest.model,
    )


def _choose_graph(
    directory: Path, manifest: Manifest, strategy: str, target: str, dtype: str | None
) -> tuple[str, Graph]:
    """The precision to run in, and the graph for it."""
    graphs = {graph.path: graph for graph in manifest.graphs}
    runs = {graph.dtype: graph for graph in manifest.graphs if graph.strategy == strategy}
    if target != "onnxruntime":
        runs = {e.dtype: graphs[e.graph] for e in _engines(directory, manifest, strategy, target)}
    kind = "dtype" if target == "onnxruntime" else f"{target} dtype"
    dtype = _choose(directory, f"{kind} (for strategy {strategy})", dtype, list(runs), "fp32")
    return dtype, runs[dtype]


def _engines(directory: Path, manifest: Manifest, strategy: str, target: str) -> list[Engine]:
    """What the artifact has for a target.

    Raises:
        ArtifactError: nothing; says how to get it.
    """
    engines = [engine for engine in manifest.engines if (engine.target, engine.strategy) == (target, strategy)]
    if not engines:
        targets = dict.fromkeys(["onnxruntime", *(e.target for e in manifest.engines if e.strategy == strategy)])
        how = (
            f"Build one: poolfold build DIR --target {target}"
            if target in ENGINE_TARGETS
            else f"Export one: poolfold export MODEL -o DIR --pooling {strategy} --target {target}"
        )
        raise ArtifactError(
            f"{directory} has no {target} engine for strategy {strategy}; it has {', '.join(targets)}. {how}"
        )
    return engines


def _open_engine(
    directory: Path,
    manifest: Manifest,
    strategy: str,
    target: str,
    dtype: str | None,
    form: str | None,
    dim: int,
    gpu: int,
) -> tuple[str, Session]:
    """The engines of a strategy, as many forms of it as there are; and their precision."""
    engines = _engines(directory, manifest, strategy, target)
    dtype = _choose(directory, f"{target} dtype", dtype, [engine.dtype for engine in engines], "fp32")
    forms = {engine.form: engine for engine in engines if engine.dtype == dtype}

    def opened(engine: Engine) -> Session:
        return EngineSession(directory / engine.path, engine, directory / engine.graph, dim=dim, gpu=gpu)

    if form is not None:
        if form not in forms:
            raise ArtifactError(f"{directory} has no {form} engine of {strategy} {dtype}. Build the engines again.")
        return dtype, opened(forms[form])
    plain, packed = forms.get("plain"), forms.get("packed")
    if plain is None or packed is None:
        return dtype, opened(next(iter(forms.values())))
    graph = next(graph for graph in manifest.graphs if graph.path == plain.graph)
    measured = {} if graph.padding_free is None else graph.padding_free.faster_below
    return dtype, ByPadding(opened(plain), lambda: opened(packed), faster_below=measured.get(target, FASTER_BELOW))


def _profiles(manifest: Manifest) -> tuple[Profile, ...]:
    """Shapes to expect: those that engines of this artifact were built for, or else all that the model takes."""
    built = next((engine.profiles for engine in manifest.engines if engine.profiles), None)
    limit = manifest.model.text.max_seq_length
    every = Profile(batch=Range(min=1, opt=8, max=64), seq_len=Range(min=1, opt=min(128, limit), max=limit))
    return built or (every,)


def _open_forms(
    directory: Path, graph: Graph, target: str, form: str | None, open_graph: Callable[[str], Session]
) -> Session:
    """The forms of a graph that the caller lets be run."""
    forms = _forms(graph)
    if form is not None:
        if form not in forms:
            raise ArtifactError(f"{directory / graph.path} has no {form} form. Export the model again.")
        return open_graph(forms[form])
    plain, free = open_graph(graph.path), graph.padding_free
    if free is None:
        return plain
    return ByPadding(plain, lambda: open_graph(free.path), faster_below=free.faster_below.get(target, FASTER_BELOW))


def _check_arguments(target: str, threads: int | None) -> None:
    """Refuse what no artifact could make right."""
    if target not in _TARGETS:
        raise InputError(f"unknown target {target!r}; expected one of {', '.join(_TARGETS)}.")
    if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= _MOST_THREADS):
        raise InputError(
            f"threads is {threads!r}; expected 1 to {_MOST_THREADS}, or None for the runtime's own choice."
        )


def _choose(directory: Path, what: str, asked: str | None, has: list[str], preferred: str | None) -> str:
    """What was asked for if the artifact has it; if nothing was, `preferred` where it is there, else the first."""
    if not has:
        raise ArtifactError(f"{directory} has no {what} at all. Export the model again.")
    if asked is None:
        return preferred if preferred in has else has[0]
    if asked not in has:
        raise InputError(f"{directory} has no {what} {asked!r}; it has {', '.join(has)}. Take one, or export it too.")
    return asked


def read_tokenizer(directory: Path, manifest: Manifest) -> Tokenizer:
    """The artifact's tokeniser. Several encoders of one artifact share it: it never changes."""
    # Only a listed file has been checked.
    if all(entry.path != TOKENIZER_NAME for entry in manifest.files):
        raise ArtifactError(f"{directory} has no {TOKENIZER_NAME}. Export the model again.")
    content = (directory / TOKENIZER_NAME).read_text(encoding="utf-8")
    return _parsed(content, msgspec.json.encode(manifest.model.text), manifest.model.vocab_size)


@lru_cache(maxsize=4)
def _parsed(content: str, text: bytes, vocab_size: int) -> Tokenizer:
    """A tokeniser from values that can be looked up again."""
    return Tokenizer(content, msgspec.json.decode(text, type=Text), vocab_size)
