"""Tiny random checkpoints, written to a folder file by file, as sentence-transformers or transformers would save them.

Every weight is random, biases and norms included, so that a part that is left out or swapped shows in the vectors. The
same arguments give the same bytes. sentence-transformers itself is not used: it is the oracle that reads these folders.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedModel, T5EncoderModel

from exporter.host.quiet import quiet_transformers
from tests.architectures import ARCHITECTURES, HIDDEN, POSITIONS, Architecture

POOLING_KEYS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""The old dialect's booleans, in the order in which it concatenates."""

_TYPES = {
    "new": {
        "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
        "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        "Dense": "sentence_transformers.base.modules.dense.Dense",
        "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    },
    "old": {kind: f"sentence_transformers.models.{kind}" for kind in ("Transformer", "Pooling", "Dense", "Normalize")},
}


@dataclass(frozen=True)
class DenseLayer:
    """A Dense module; `activation` is the name of a class of torch.nn."""

    out_features: int
    bias: bool = True
    activation: str = "Tanh"
    residual: bool = False


def tiny_checkpoint(
    folder: Path,
    *,
    architecture: str | Architecture = "bert",
    pooling: str | Sequence[str] | None = "mean",
    dialect: str = "new",
    dense: Sequence[DenseLayer] = (),
    normalize: bool = True,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    include_prompt: bool = True,
    max_seq_length: int | None = POSITIONS,
    do_lower_case: bool = False,
    similarity: str | None = None,
    truncate_dim: int | None = None,
    padding_side: str | None = None,
    config: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    seed: int = 0,
) -> Path:
    """Write a sentence-transformers folder and return it.

    Args:
        folder: created where missing.
        architecture: the name of one of ARCHITECTURES, or another.
        pooling: a mode, several modes, or None for a folder whose modules.json lists no Pooling.
        dialect: "old" (up to 5.3: boolean `pooling_mode_*` keys) or "new" (from 5.4 on).
        dense: Dense modules between Pooling and Normalize.
        normalize: end with a Normalize module.
        prompts: by name.
        default_prompt_name: the prompt used where none is named.
        include_prompt: whether the prompt's tokens are pooled.
        max_seq_length: in tokens; None leaves it out.
        do_lower_case: ask for lower-casing; the tokenizer itself is cased.
        similarity: `similarity_fn_name`.
        truncate_dim: dimensions kept of the vector.
        padding_side: of the tokenizer; the architecture's where it is None.
        config: overrides of the transformer's configuration.
        dtype: of the transformer's weights, as torch names it.
        seed: of all weights.
    """
    new = dialect == "new"
    plain_checkpoint(
        folder,
        architecture=architecture,
        max_seq_length=max_seq_length if new else POSITIONS,
        padding_side=padding_side,
        config=config,
        dtype=dtype,
        seed=seed,
    )
    transformer: dict[str, Any] = {"do_lower_case": do_lower_case}
    if new:
        transformer |= {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
        }
    else:
        transformer["max_seq_length"] = max_seq_length
    write_json(folder / "sentence_bert_config.json", transformer)

    kinds = ["Transformer"]
    modes = [pooling] if isinstance(pooling, str) else list(pooling or ())
    if modes:
        kinds.append("Pooling")
        write_json(folder / "1_Pooling" / "config.json", _pooling_config(modes, new=new, include_prompt=include_prompt))
    generator = torch.Generator().manual_seed(seed + 1)
    width = HIDDEN * max(len(modes), 1)
    for layer in dense:
        _write_dense(folder / f"{len(kinds)}_Dense", width, layer, generator, new=new)
        kinds.append("Dense")
        width = layer.out_features
    if normalize:
        if new:
            names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            write_json(folder / f"{len(kinds)}_Normalize" / "config.json", names)
        kinds.append("Normalize")
    entries = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": _TYPES[dialect][kind]}
        for i, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", entries)

    library: dict[str, Any] = {"__version__": {"sentence_transformers": "6.2.0" if new else "2.2.2"}}
    if prompts is not None:
        library |= {"prompts": dict(prompts), "default_prompt_name": default_prompt_name}
    if similarity is not None:
        library["similarity_fn_name"] = similarity
    if truncate_dim is not None:
        library["truncate_dim"] = truncate_dim
    write_json(folder / "config_sentence_transformers.json", library)
    return folder


def plain_checkpoint(
    folder: Path,
    *,
    architecture: str | Architecture = "bert",
    max_seq_length: int | None = POSITIONS,
    padding_side: str | None = None,
    config: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    seed: int = 0,
) -> Path:
    """Write a plain transformers folder (configuration, weights, tokenizer) and return it; see `tiny_checkpoint`."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = ARCHITECTURES[architecture] if isinstance(architecture, str) else architecture
    settings = {**chosen.config, **(config or {})}
    tokenizer = _tokenizer(chosen.template, settings["pad_token_id"])
    settings = {"vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.2} | settings
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = _transformer(chosen.model_type, settings)
        with torch.no_grad():
            for parameter in transformer.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    with quiet_transformers():
        transformer.to(getattr(torch, dtype)).save_pretrained(folder)

    tokenizer.save(str(folder / "tokenizer.json"))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "mask")}
    # Some tokenizer classes add an end token of their own name where none is named.
    special |= {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    limit = {} if max_seq_length is None else {"model_max_length": max_seq_length}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": padding_side or chosen.padding_side}
        | {"pad_token": chosen.pad_token} | special | limit,
    )  # fmt: skip
    return folder


def _transformer(model_type: str, settings: Mapping[str, Any]) -> PreTrainedModel:
    """A random transformer, fp32; with its decoder where such checkpoints have one."""
    config = AutoConfig.for_model(model_type, **settings)
    if model_type == "t5":
        # sentence-transformers writes the encoder alone.
        return T5EncoderModel(config)
    return AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-any-return,no-untyped-call]


def write_json(path: Path, value: object) -> None:
    """Write JSON, with the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def edit_json(path: Path, **changes: object) -> None:
    """Change keys of a JSON object in place; the value `...` removes a key."""
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    write_json(path, {key: item for key, item in value.items() if item is not ...})


def _tokenizer(template: str, pad_token_id: int) -> Tokenizer:
    """A cased WordPiece tokenizer over characters; any text tokenises, unknown characters to [UNK]."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(pad_token_id, "[PAD]")
    characters = string.ascii_letters + string.digits + string.punctuation + "äéñüßйжд日本語" + "😀"
    tokens = [*special, *characters, *(f"##{c}" for c in characters), "the", "##ing", "query", "text"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template,
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _pooling_config(modes: Sequence[str], *, new: bool, include_prompt: bool) -> dict[str, Any]:
    """1_Pooling/config.json in either dialect."""
    if new:
        mode = modes[0] if len(modes) == 1 else list(modes)
        return {"embedding_dimension": HIDDEN, "pooling_mode": mode, "include_prompt": include_prompt}
    if [mode for mode in POOLING_KEYS if mode in modes] != list(modes):
        raise ValueError(f"the old dialect cannot say the order {modes}")
    booleans = {key: mode in modes for mode, key in POOLING_KEYS.items()}
    return {"word_embedding_dimension": HIDDEN, **booleans, "include_prompt": include_prompt}


def _write_dense(folder: Path, width: int, layer: DenseLayer, generator: torch.Generator, *, new: bool) -> None:
    """Write a Dense module whose input has `width` values."""
    path = "linear" if layer.activation == "Identity" else "activation"
    settings: dict[str, Any] = {
        "in_features": width,
        "out_features": layer.out_features,
        "bias": layer.bias,
        "activation_function": f"torch.nn.modules.{path}.{layer.activation}",
    }
    if new:
        settings |= {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    if layer.residual:
        settings["use_residual"] = True
    write_json(folder / "config.json", settings)
    shape = (layer.out_features, width)
    weights = {"linear.weight": torch.randn(shape, generator=generator) / width**0.5}
    if layer.bias:
        weights["linear.bias"] = 0.1 * torch.randn(layer.out_features, generator=generator)
    if layer.residual and width != layer.out_features:
        weights["residual.weight"] = torch.randn(shape, generator=generator) / width**0.5
    save_file(weights, folder / "model.safetensors")
