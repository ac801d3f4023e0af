"""The artifact's own shape: which file lies where, and the manifest that describes them all.

Knows paths and values only: what the graphs contain, how engines are built and how vectors are checked is elsewhere.
"""

from __future__ import annotations

import datetime
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from exporter.host.environment import environment
from exporter.spec.model import DType, Form, ModelSpec
from graphs.pooling.strategy import Strategy, strategy_name
from poolfold import manifest as m
from poolfold.verify import describe

# Copied for people and for other servers; poolfold itself reads tokenizer.json and the manifest only.
_COPIED = ("config.json", "tokenizer_config.json", "special_tokens_map.json")


def graph_path(strategy: Strategy, dtype: DType, form: Form = Form.PLAIN) -> str:
    """Where a graph lies, relative to the artifact."""
    return f"onnx/{strategy_name(strategy)}_{dtype}{_suffix(form)}.onnx"


def _suffix(form: Form) -> str:
    return "" if form is Form.PLAIN else f"_{form}"


def weights_path(dtype: DType) -> str:
    """Where the weights lie that all graphs of a dtype share."""
    return f"onnx/weights_{dtype}.bin"


def engine_path(target: str, strategy: Strategy, dtype: DType, form: Form = Form.PLAIN) -> str:
    """Where an engine lies."""
    return f"engines/{target}/{strategy_name(strategy)}_{dtype}{_suffix(form)}.engine"


def write_model_files(directory: Path, spec: ModelSpec) -> None:
    """Write the tokeniser and the checkpoint's own small files."""
    (directory / "tokenizer.json").write_text(spec.tokenizer_json, encoding="utf-8")
    for name in _COPIED:
        if (spec.transformer / name).is_file():
            shutil.copyfile(spec.transformer / name, directory / name)


def write_report(directory: Path, name: str, report: Any) -> None:
    """Write DIR/reports/<name>.json, whole, beside the summary that the manifest carries."""
    path = directory / "reports" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def write_manifest(
    directory: Path,
    *,
    model: m.Model,
    strategies: tuple[m.Strategy, ...],
    graphs: Sequence[m.Graph],
    engines: Sequence[m.Engine] = (),
    parity: Sequence[Mapping[str, Any]] = (),
    latency: Sequence[Mapping[str, Any]] = (),
    known: Mapping[str, m.File] | None = None,
) -> m.Manifest:
    """Describe every file in the directory and write its manifest.

    Args:
        known: files whose hash is known already and whose bytes have not changed since.
    """
    known = known or {}
    paths = sorted(p for p in directory.rglob("*") if p.is_file() and p != directory / m.MANIFEST_NAME)
    names = [(p, p.relative_to(directory).as_posix()) for p in paths]
    manifest = m.Manifest(
        schema_version=m.SCHEMA_VERSION,
        poolfold_version=version("poolfold"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=("poolfold", *sys.argv[1:]),
        model=model,
        strategies=strategies,
        graphs=tuple(graphs),
        engines=tuple(engines),
        files=tuple(known.get(name) or describe(directory, path) for path, name in names),
        parity=tuple(parity),
        latency=tuple(latency),
        environment=environment(),
    )
    (directory / m.MANIFEST_NAME).write_bytes(m.dumps(manifest))
    return manifest
