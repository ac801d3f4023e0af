"""An artifact directory to an `Encoder`: verify every file, choose strategy and dtype, open the target's session.

The one place that knows which targets run. Knows nothing of a session's inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from poolfold.encoder import Encoder
from poolfold.errors import ArtifactError, InputError
from poolfold.manifest import Graph, Manifest, Text
from poolfold.sessions import Session
from poolfold.sessions.by_padding import FASTER_BELOW, ByPadding
from poolfold.sessions.openvino import OpenVinoSession
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.sessions.ort_providers import CPU, PROVIDERS, Provider, choose_profile
from poolfold.sessions.tensorrt.checks import runs_here
from poolfold.sessions.tensorrt.library import MODULES
from poolfold.sessions.tensorrt.session import EngineSession
from poolfold.sessions.user_cache import cache_path
from poolfold.tokenise import Tokenizer
from poolfold.verify import verify

TOKENIZER_NAME = "tokenizer.json"
_TARGETS = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
_MOST_THREADS = 1024


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
    """All of an artifact that runs on this machine.

    Every graph in ONNX Runtime, what OpenVINO was checked with, and the engines whose library and GPU are here.
    """
    here = {engine.path for engine in manifest.engines if engine.target in MODULES and runs_here(engine)}
    return tuple(entry for entry in _listed(manifest) if entry.target not in MODULES or entry.path in here)


def _listed(manifest: Manifest) -> tuple[Runnable, ...]:
    """All that an artifact holds, wherever it runs."""
    graphs = {graph.path: graph for graph in manifest.graphs}
    entries = [("onnxruntime", graph.strategy, graph.dtype, graph) for graph in manifest.graphs]
    entries += [(e.target, e.strategy, e.dtype, graphs[e.graph]) for e in manifest.engines if e.target == "openvino"]
    return (
        *(
            Runnable(target, strategy, dtype, form, path)
            for target, strategy, dtype, graph in entries
            for form, path in _forms(graph).items()
        ),
        *(Runnable(e.target, e.strategy, e.dtype, e.form, e.path) for e in manifest.engines if e.target in MODULES),
    )


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
        provider: what ONNX Runtime computes with: `cpu`, `cuda`, `tensorrt` or `tensorrt-rtx`.
        gpu: the number of the NVIDIA GPU, counted from 0, for engines and for every provider but `cpu`.

    Raises:
        InputError: a strategy, dtype, target or provider that is not there, or fewer threads than one.
        ArtifactError: the directory differs from its manifest, or has nothing for the target.
        TargetUnavailable: the target cannot run here.
    """
    # Before the hashes: those of a large artifact take seconds.
    _check_arguments(target, threads, provider, gpu)
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

    form: `plain`, `padding-free` or `packed`, to run every batch on that form; None for the faster one each time: of a
    graph the first two on the CPU, of an engine plain and packed.
    """
    _check_arguments(target, threads, provider, gpu)
    trained = next((entry.name for entry in manifest.strategies if entry.trained), None)
    strategy = _choose(directory, "strategy", strategy, [entry.name for entry in manifest.strategies], trained)
    entries = [entry for entry in _listed(manifest) if (entry.target, entry.strategy) == (target, strategy)]
    if target != "onnxruntime" and not entries:
        _refuse_missing(directory, manifest, strategy, target)
    kind = "dtype" if target == "onnxruntime" else f"{target} dtype"
    dtypes = list(dict.fromkeys(entry.dtype for entry in entries))
    dtype = _choose(directory, f"{kind} (for strategy {strategy})", dtype, dtypes, "fp32")

    def open_path(path: str) -> Session:
        if target in MODULES:
            record = next(engine for engine in manifest.engines if engine.path == path)
            return EngineSession(directory, record, gpu=gpu, digest=_digest(manifest, path))
        if target == "openvino":
            return OpenVinoSession(directory / path, dtype=dtype, threads=threads)
        how = _provider(manifest, provider, gpu, path)
        return OnnxRuntimeSession(directory / path, threads=threads, spinning=spinning, provider=how)

    forms = {entry.form: entry.path for entry in entries if entry.dtype == dtype}
    return Encoder(
        _open_forms(directory, manifest, target, forms, form if provider == CPU else form or "plain", open_path),
        read_tokenizer(directory, manifest),
        strategy=strategy,
        dtype=dtype,
        target=target,
        dim=next(entry.dim for entry in manifest.strategies if entry.name == strategy),
        model=manifest.model,
    )


def _open_forms(
    directory: Path,
    manifest: Manifest,
    target: str,
    forms: Mapping[str, str],
    form: str | None,
    open_path: Callable[[str], Session],
) -> Session:
    """Those of a graph's or an engine's forms that the caller lets be run, each by its path."""
    if form is not None:
        if form not in forms:
            have = ", ".join(forms)
            raise ArtifactError(f"{directory} has no {form} form for {target}; it has {have}. Export the model again.")
        return open_path(forms[form])
    # An artifact may hold the packed engine alone.
    plain = open_path(forms.get("plain") or next(iter(forms.values())))
    tokens_only = forms.get("packed" if target in MODULES else "padding-free")
    if tokens_only is None or "plain" not in forms:
        return plain
    return ByPadding(
        plain, lambda: open_path(tokens_only), faster_below=_faster_below(manifest, target, forms["plain"])
    )


def _faster_below(manifest: Manifest, target: str, path: str) -> float:
    """The share of real tokens below which the form that computes them only was faster than the plain one, `path`."""
    engine = next((engine for engine in manifest.engines if engine.path == path and target in MODULES), None)
    graph = _graph_at(manifest, path if engine is None else engine.graph)
    if graph is None or graph.padding_free is None:
        return FASTER_BELOW
    return graph.padding_free.faster_below.get(target, FASTER_BELOW)


def _graph_at(manifest: Manifest, path: str) -> Graph | None:
    """The graph one of whose forms is a file."""
    return next((graph for graph in manifest.graphs if path in _forms(graph).values()), None)


def _digest(manifest: Manifest, *paths: str | None) -> str:
    """A name for the content of some files of the artifact, from the SHA-256 of each."""
    sums = {file.path: file.sha256 for file in manifest.files}
    return hashlib.sha256(" ".join(sums.get(path, "") for path in paths if path).encode()).hexdigest()


def _provider(manifest: Manifest, name: str, gpu: int, path: str) -> Provider | None:
    """What ONNX Runtime is to compute the graph `path` with; None for the CPU."""
    if name == CPU:
        return None
    graph = _graph_at(manifest, path)
    # Caches by content: ONNX Runtime takes graphs of one file name and structure for the same, whatever their weights.
    digest = _digest(manifest, path, graph.weights if graph else None)
    made = [engine for engine in manifest.engines if graph and engine.graph == graph.path]
    return Provider(
        name,
        gpu,
        inputs=graph.inputs if graph else (),
        profile=choose_profile([p for engine in made for p in engine.profiles], manifest.model.text.max_seq_length),
        cache=cache_path("onnxruntime", name, digest[:16]),
    )


def _check_arguments(target: str, threads: int | None, provider: str, gpu: int) -> None:
    """Refuse what no artifact could make right."""
    if target not in _TARGETS:
        raise InputError(f"unknown target {target!r}; expected one of {', '.join(_TARGETS)}.")
    if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= _MOST_THREADS):
        raise InputError(
            f"threads is {threads!r}; expected 1 to {_MOST_THREADS}, or None for the runtime's own choice."
        )
    if provider not in PROVIDERS:
        raise InputError(f"unknown provider {provider!r}; expected one of {', '.join(PROVIDERS)}.")
    if provider != CPU and target != "onnxruntime":
        raise InputError(f"provider {provider} is one of target onnxruntime; got target {target}. Leave one out.")
    if not isinstance(gpu, int) or gpu < 0:
        raise InputError(f"gpu is {gpu!r}; expected its number, counted from 0.")


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


def _refuse_missing(directory: Path, manifest: Manifest, strategy: str, target: str) -> NoReturn:
    """Say how to get what is not there."""
    targets = dict.fromkeys(["onnxruntime", *(e.target for e in manifest.engines if e.strategy == strategy)])
    how = (
        f"Build one: poolfold build DIR --target {target}"
        if target in MODULES
        else f"Export one: poolfold export MODEL -o DIR --pooling {strategy} --target {target}"
    )
    raise ArtifactError(
        f"{directory} has no {target} engine for strategy {strategy}; it has {', '.join(targets)}. {how}"
    )
