"""An artifact -> a model repository that starts as it is.

On a CPU one model of the Python backend computes texts. On a GPU an ensemble: a tokeniser's model of the Python
backend, then the engine or the graph in its native backend.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from poolfold.choice import choose
from poolfold.encoder import Encoder
from poolfold.errors import ArtifactError, InputError
from poolfold.load import load
from poolfold.manifest import EMBEDDING, Manifest
from poolfold.sessions.targets import find_target
from poolfold.triton import config
from poolfold.verify import read_checked

ARTIFACT = "artifact"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = "1"


@dataclass(frozen=True)
class Deployment:
    """What is deployed, and how it runs.

    name: the model's in Triton; None for the artifact's folder.
    target: `onnxruntime`, `openvino` or `tensorrt`.
    gpu: whether ONNX Runtime computes on a GPU; `tensorrt` always does.
    prompt_name: put before every text; None for the default prompt.
    instances: processes of a CPU.
    threads: of each; None for what the process may use.
    """

    name: str | None = None
    strategy: str | None = None
    target: str = "onnxruntime"
    dtype: str | None = None
    gpu: bool = False
    prompt_name: str | None = None
    instances: int = 1
    threads: int | None = None


class Written(NamedTuple):
    """What was written: the model to ask, and the folder of each model."""

    name: str
    models: tuple[Path, ...]


def write_repository(directory: Path, repository: Path, deployment: Deployment, *, force: bool = False) -> Written:
    """Write the models of an artifact into a model repository, each whole or not at all.

    Raises:
        InputError: no such strategy, precision or prompt; a name that Triton does not take; a model is there already.
        ArtifactError: the artifact has nothing for the target.
    """
    name = deployment.name or directory.resolve().name
    if not _NAME.fullmatch(name):
        raise InputError(
            f"the name is {name!r}; expected letters, digits, '.', '_' and '-'. Pass another one with --name."
        )
    native = deployment.gpu or deployment.target == "tensorrt"
    manifest = read_checked(directory)
    with load(directory, deployment.strategy, dtype=None if native else deployment.dtype, threads=1) as encoder:
        if deployment.prompt_name is not None and deployment.prompt_name not in encoder.prompts:
            names = ", ".join(map(repr, encoder.prompts))
            raise InputError(f"no prompt is called {deployment.prompt_name!r}; this model's prompts: {names}.")
        models = (_native if native else _texts)(name, directory, manifest, encoder, deployment)
    repository.mkdir(parents=True, exist_ok=True)
    taken = [model for model in models if (repository / model).exists()]
    if taken and not force:
        raise InputError(f"{repository / taken[0]} exists. Choose another --name, or pass --force to replace it.")
    for model, write in models.items():
        _publish(repository / model, write)
    return Written(name, tuple(repository / model for model in models))


_Models = Mapping[str, Callable[[Path], None]]
"""By name what writes a model's folder; the one to ask comes last, so that it is never there without its parts."""


def _texts(name: str, directory: Path, manifest: Manifest, encoder: Encoder, deployment: Deployment) -> _Models:
    """One model, which loads the artifact."""
    # Told here and not by a server that does not start.
    target = find_target(deployment.target)
    choice = choose(directory, manifest, target, deployment.strategy, deployment.dtype, "cpu")
    parameters = {
        "strategy": choice.strategy,
        "target": deployment.target,
        "dtype": choice.dtype,
        "threads": deployment.threads or "",
        "prompt_name": deployment.prompt_name or "",
    }
    texts, vectors = {config.TEXT: ("TYPE_STRING", 1)}, {config.EMBEDDING: ("TYPE_FP32", encoder.dim)}
    content = config.python_model(name, texts, vectors, parameters, deployment.instances)
    return {name: lambda folder: _python(folder, content, "backend", directory)}


def _native(name: str, directory: Path, manifest: Manifest, encoder: Encoder, deployment: Deployment) -> _Models:
    """A tokeniser's model, the graph's, and the ensemble of both."""
    backend = deployment.target
    if backend not in ("onnxruntime", "tensorrt"):
        raise InputError(f"Triton has no backend for {backend} on a GPU; expected onnxruntime or tensorrt.")
    provider = "cuda" if backend == "onnxruntime" else "cpu"
    choice = choose(directory, manifest, find_target(backend), deployment.strategy, deployment.dtype, provider)
    path = choice.forms.get("plain")
    if path is None:
        raise ArtifactError(
            f"{directory} has no plain form for {backend}, which takes ids and their mask; it has "
            f"{', '.join(choice.forms)}. Export the model again with it."
        )
    engine = next((engine for engine in manifest.engines if engine.path == path), None)
    weights = next((graph.weights for graph in manifest.graphs if graph.path == path and graph.weights), None)
    most = min(config.MOST, *(profile.batch.max for profile in engine.profiles)) if engine else config.MOST
    files = [file for file in (path, weights) if file is not None]
    tokens, graph = f"{name}-tokens", f"{name}-graph"
    parameters = {"prompt_name": deployment.prompt_name or ""}
    ids = {"input_ids": ("TYPE_INT64", -1), "attention_mask": ("TYPE_INT64", -1)}
    step = config.python_model(tokens, {config.TEXT: ("TYPE_STRING", 1)}, ids, parameters, deployment.instances)
    native = config.native_model(graph, backend, Path(path).name, EMBEDDING.name, encoder.dim, most)
    whole = config.ensemble(name, tokens, graph, EMBEDDING.name, encoder.dim)

    def write_graph(folder: Path) -> None:
        version = _version(folder, native)
        for file in files:
            shutil.copyfile(directory / file, version / Path(file).name)

    return {
        tokens: lambda folder: _python(folder, step, "tokens", directory),
        graph: write_graph,
        name: lambda folder: (_version(folder, whole), None)[1],
    }


def _python(folder: Path, content: str, module: str, directory: Path) -> None:
    """A model of the Python backend, and the artifact in a folder of its own: Python writes beside a model."""
    version = _version(folder, content)
    (version / "model.py").write_text(
        '"""Needs poolfold in the Python that Triton runs."""\n\n'
        f"from poolfold.triton.{module} import TritonPythonModel\n\n"
        '__all__ = ["TritonPythonModel"]\n'
    )
    shutil.copytree(directory, version / ARTIFACT)


def _version(folder: Path, content: str) -> Path:
    version = folder / _VERSION
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(content)
    return version


def _publish(place: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside its place, then rename it: a server that polls sees all of it or nothing."""
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        write(draft)
        if place.exists():
            old = draft.with_name(f"{draft.name}.old")
            place.rename(old)
            draft.rename(place)
            shutil.rmtree(old)
        else:
            draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
