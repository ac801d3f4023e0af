"""Which file lies where in an artifact, and the small files that it is given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from exporter.artifact.tokenizer_config import keeps_the_file, tokenizer_config
from exporter.spec.model import DType, Form, ModelSpec
from graphs.pooling.strategy import Strategy, strategy_name

# Copied for people and for other servers; poolfold itself reads tokenizer.json and the manifest only.
_COPIED = ("config.json", "special_tokens_map.json")


def graph_path(
    strategy: Strategy, dtype: DType, form: Form = Form.PLAIN, *, sliced: bool = False, target: str | None = None
) -> str:
    """Where a graph lies, relative to the artifact.

    sliced: the one with attention in slices.
    target: the one that runs it, where that has a graph of its own; ONNX Runtime's has the plain name.
    """
    own = "" if target in (None, "onnxruntime") else f"_{target}"
    return f"onnx/{strategy_name(strategy)}_{dtype}{own}{_suffix(form)}{'_sliced' if sliced else ''}.onnx"


def _suffix(form: Form) -> str:
    return "" if form is Form.PLAIN else f"_{form}"


MODEL_CARD = "README.md"
"""No part of what the manifest lists: people edit it."""
PORTABLE_GRAPH, _PORTABLE_WEIGHTS = "onnx/model.onnx", "onnx/model.onnx_data"
"""What other programs look for, and fetch from the hub along with it."""


def weights_path(dtype: DType, target: str | None = None, *, portable: bool = False) -> str:
    """Where the weights lie that all graphs of a dtype share; of a target, where engines alone are built of them.

    portable: whether there is a graph for other programs, which shares those in fp32.
    """
    if portable and dtype is DType.FP32:
        return _PORTABLE_WEIGHTS
    return f"onnx/weights_{dtype}{'' if target is None else f'_{target}'}.bin"


def prompt_path(number: int) -> str:
    """Where the keys and values of a folded prompt lie."""
    return f"prompts/{number}.bin"


def ranges_path(strategy: Strategy) -> str:
    """Where the ranges of the values of a strategy's vectors lie."""
    return f"vector_ranges/{strategy_name(strategy)}.bin"


def engine_path(target: str, strategy: Strategy, dtype: DType, form: Form = Form.PLAIN) -> str:
    """Where an engine lies."""
    return f"engines/{target}/{strategy_name(strategy)}_{dtype}{_suffix(form)}.engine"


def write_model_files(directory: Path, spec: ModelSpec) -> None:
    """Write the tokeniser and the checkpoint's own small files."""
    (directory / "tokenizer.json").write_text(spec.tokenizer_json, encoding="utf-8")
    config = json.dumps(tokenizer_config(spec), ensure_ascii=False, indent=2)
    (directory / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")
    # Roles that transformers 4 reads from the second file then stand in tokenizer_config.json.
    for name in _COPIED[:1] if keeps_the_file(spec) else _COPIED:
        if (path := spec.small_file(name)).is_file():
            shutil.copyfile(path, directory / name)


def write_report(directory: Path, name: str, report: Any) -> None:
    """Write DIR/reports/<name>.json, whole, beside the summary that the manifest carries."""
    path = directory / "reports" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
