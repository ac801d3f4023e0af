"""Copies of an artifact that a test may change, each sealed anew so that only its vectors or its size differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from poolfold.manifest import Manifest, read_manifest
from poolfold.verify import verify
from tests.artifacts import relist, rewrite_manifest


def copy_with_one_graph(artifact: Path, copy: Path, strategy: str = "mean", dtype: str = "fp32") -> Manifest:
    """One graph in its plain form, its weights, and no engine."""
    shutil.copytree(artifact, copy)
    manifest = read_manifest(copy)
    (graph,) = (g for g in manifest.graphs if (g.strategy, g.dtype) == (strategy, dtype))
    graph = msgspec.structs.replace(graph, padding_free=None, packed=None)
    shutil.rmtree(copy / "engines")
    for path in (copy / "onnx").iterdir():
        if f"onnx/{path.name}" not in (graph.path, graph.weights):
            path.unlink()
    rewrite_manifest(
        copy,
        manifest,
        graphs=(graph,),
        engines=(),
        strategies=tuple(s for s in manifest.strategies if s.name == strategy),
        files=tuple(file for file in manifest.files if (copy / file.path).exists()),
    )
    return verify(copy)


def copy_with_the_wrong_pooling(artifact: Path, copy: Path) -> Manifest:
    """The graph of cls under the name of mean, and nothing else but that."""
    manifest = copy_with_one_graph(artifact, copy)
    shutil.copyfile(artifact / "onnx" / "cls_fp32.onnx", copy / "onnx" / "mean_fp32.onnx")
    rewrite_manifest(copy, manifest, files=relist(copy, manifest, "onnx/mean_fp32.onnx"))
    return verify(copy)


def with_source(directory: Path, source: Path) -> None:
    """Let the artifact say that it came from another folder."""
    manifest = read_manifest(directory)
    rewrite_manifest(directory, manifest, model=msgspec.structs.replace(manifest.model, source=str(source)))
