"""The files by which sentence-transformers, text-embeddings-inference and others know a model folder.

Written in the older of sentence-transformers' two dialects, which all of them read. The graph that goes with them is
onnx/model.onnx. poolfold itself reads the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from exporter.spec.model import ModelSpec
from graphs.pooling.head import Activation, Dense, Head, Normalize, Truncate
from graphs.pooling.strategy import PoolingMode, Strategy

_MODES = {
    PoolingMode.CLS: "pooling_mode_cls_token",
    PoolingMode.MAX: "pooling_mode_max_tokens",
    PoolingMode.MEAN: "pooling_mode_mean_tokens",
    PoolingMode.MEAN_SQRT_LEN_TOKENS: "pooling_mode_mean_sqrt_len_tokens",
    PoolingMode.WEIGHTEDMEAN: "pooling_mode_weightedmean_tokens",
    PoolingMode.LASTTOKEN: "pooling_mode_lasttoken",
}
"""In the order in which the library concatenates them."""
_ACTIVATIONS = {
    Activation.IDENTITY: "torch.nn.modules.linear.Identity",
    Activation.TANH: "torch.nn.modules.activation.Tanh",
    Activation.SIGMOID: "torch.nn.modules.activation.Sigmoid",
    Activation.RELU: "torch.nn.modules.activation.ReLU",
    Activation.GELU: "torch.nn.modules.activation.GELU",
    Activation.SILU: "torch.nn.modules.activation.SiLU",
}


def can_be_told(strategy: Strategy) -> bool:
    """Whether the dialect has words for a strategy: it concatenates in an order of its own."""
    return list(strategy) == [mode for mode in _MODES if mode in strategy]


def write_hub_files(directory: Path, spec: ModelSpec, strategy: Strategy, head: Head) -> None:
    """Write modules.json, a folder for each module, the limit, prompts and similarity.

    Args:
        directory: the artifact.
        spec: the checkpoint.
        strategy: the pooling of onnx/model.onnx, which `can_be_told`.
        head: what follows it. A cut is written as the layer that keeps the first values, so that a normalisation
            behind it stays where it is.
    """
    text = spec.text
    pooling = {"word_embedding_dimension": spec.hidden_size, **{key: mode in strategy for mode, key in _MODES.items()}}
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    _write(directory / "1_Pooling" / "config.json", {**pooling, "include_prompt": text.include_prompt})
    width = len(strategy) * spec.hidden_size
    for number, module in enumerate(head, len(modules)):
        match module:
            case Normalize():
                modules.append((f"{number}_Normalize", "Normalize"))
                _write(directory / f"{number}_Normalize" / "config.json", {})
            case Truncate():
                kept = min(module.dimensions, width)
                cut = Dense(np.eye(kept, width, dtype=np.float32), None, Activation.IDENTITY)
                modules.append((f"{number}_Dense", "Dense"))
                width = _write_dense(directory / f"{number}_Dense", cut)
            case Dense():
                modules.append((f"{number}_Dense", "Dense"))
                width = _write_dense(directory / f"{number}_Dense", module)
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules)
    ]
    _write(directory / "modules.json", listed)
    # The limit: text-embeddings-inference fails without it, and others cut at it.
    _write(directory / "sentence_bert_config.json", {"max_seq_length": text.max_seq_length, "do_lower_case": False})
    library = {
        "prompts": text.prompts,
        "default_prompt_name": text.default_prompt_name,
        "similarity_fn_name": spec.similarity,
    }
    _write(directory / "config_sentence_transformers.json", library)


def _write_dense(folder: Path, dense: Dense) -> int:
    """Write a dense layer; returns how many values it gives."""
    from safetensors.numpy import save_file

    values, width = dense.weight.shape
    config = {
        "in_features": width,
        "out_features": values,
        "bias": dense.bias is not None,
        "activation_function": _ACTIVATIONS[dense.activation],
    }
    if dense.residual is not None:
        config["use_residual"] = True
    _write(folder / "config.json", config)
    save_file(dict(_tensors(dense)), folder / "model.safetensors")
    return int(values)


def _tensors(dense: Dense) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    yield "linear.weight", np.ascontiguousarray(dense.weight)
    if dense.bias is not None:
        yield "linear.bias", dense.bias
    if isinstance(dense.residual, np.ndarray):
        yield "residual.weight", np.ascontiguousarray(dense.residual)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
