"""The model as exporters commonly leave it: a graph that ends in token embeddings, for the caller to pool.

What poolfold's graphs are held against in speed and memory. Written by torch's exporter and not optimised further;
ONNX Runtime optimises it as it loads.
"""

from __future__ import annotations

from pathlib import Path

from exporter.spec.origin import Trust

FILE = "token_embeddings.onnx"


def write(model: str, revision: str | None, trust: Trust, folder: Path) -> None:
    """Write FILE, and its weights beside it; in a process of its own, since it needs PyTorch.

    Raises:
        PoolfoldError: the model cannot be read or traced.
    """
    from exporter.model.checkpoint.read import read_spec
    from exporter.model.checkpoint.source import resolve_source
    from exporter.model.pytorch import load_backbone
    from exporter.model.trace import export_encoder
    from graphs.files.weights import save_graphs

    spec = read_spec(resolve_source(model, revision, trust), trust)
    graph = export_encoder(load_backbone(spec), spec)
    save_graphs({folder / FILE: graph}, folder / "token_embeddings.bin")
