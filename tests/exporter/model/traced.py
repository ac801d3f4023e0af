"""The encoder of every architecture, traced from a tiny checkpoint once and kept between runs of pytest.

Tracing takes seconds and gives the same graph each time. What is kept goes by the sources and versions that made it.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

import exporter.model.pytorch
import exporter.model.trace
import graphs.encoder.cleanup
import tests.models
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.model.pytorch import load_backbone
from graphs.encoder.cleanup import cleanup
from tests.conftest import traced_once

_MADE_BY = (exporter.model.trace, exporter.model.pytorch, graphs.encoder.cleanup, tests.models)
_LIBRARIES = ("torch", "transformers", "onnxscript", "onnx-ir", "onnx")


def traced_encoder(architecture: str, kept: Path) -> ir.Model:
    """The clean encoder of one of `tests.models.ARCHITECTURES`; `kept` is a folder between runs."""
    path = kept / f"{architecture}-{_fingerprint()}.onnx"
    if not path.exists():
        with TemporaryDirectory(dir=kept) as folder:
            spec = read_spec(_source(Path(folder), architecture))
            model = traced_once(load_backbone(spec), spec)
            cleanup(model)
            written = Path(folder) / "encoder.onnx"
            ir.save(model, written)
            # At once, so that no other process reads half of it.
            written.replace(path)
    return ir.load(path)


def _source(folder: Path, architecture: str):
    return resolve_source(str(tests.models.tiny_checkpoint(folder / "tiny", architecture=architecture)), None)


def _fingerprint() -> str:
    sources = [Path(module.__file__ or "").read_bytes() for module in _MADE_BY]
    # The table of architectures, wherever in tests it stands.
    sources += [path.read_bytes() for path in sorted(Path(tests.models.__file__).parent.glob("*architectures*.py"))]
    versions = ",".join(version(library) for library in _LIBRARIES)
    return hashlib.sha256(b"\0".join([*sources, versions.encode()])).hexdigest()[:16]
