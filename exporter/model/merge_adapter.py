"""Merge a LoRA adapter into its base model, and prove the merged model against the unmerged one. Needs peft."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from exporter.host.libraries import named
from exporter.model.checkpoint.adapter import WEIGHTS
from exporter.model.checkpoint.weight_names import common_prefix
from poolfold.errors import CheckpointError, first_line

_PEFT = "base_model.model."
"""What peft puts before the names of the model that it wraps."""
_LORA = re.compile(r"\.lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)(?:\.weight)?$")
_TOLERANCE = 1e-6
"""Of a cosine of token vectors: what an fp32 artifact is held to."""


def merge_adapter(backbone: Any, folder: Path) -> torch.nn.Module:
    """The backbone with an adapter merged into its weights.

    Args:
        backbone: the base model, fp32, in evaluation mode; changed in place.
        folder: of the adapter.

    Raises:
        CheckpointError: the adapter belongs to another model, or merged it gives other token vectors than unmerged.
    """
    stored = load_file(folder / WEIGHTS)
    modules = {name for name, _ in backbone.named_modules() if name}
    changed = [_LORA.sub("", name) for name in stored if _LORA.search(name)]
    prefix = common_prefix(folder, changed, modules)
    # An adapter that was trained under a head has the head's name for the model in front of each of its own.
    weights = {_PEFT + name.removeprefix(prefix): value for name, value in stored.items()}
    try:
        with warnings.catch_warnings():  # that the base model lies elsewhere than when it was trained
            warnings.simplefilter("ignore")
            model: Any = named("peft:get_peft_model")(backbone, named("peft:PeftConfig").from_pretrained(str(folder)))
        outcome: Any = named("peft:set_peft_model_state_dict")(model, weights)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: the adapter does not fit its base model ({first_line(error)}).") from error
    lacking = [name for name in outcome.missing_keys if "lora_" in name]
    if strange := [*outcome.unexpected_keys, *lacking]:
        raise CheckpointError(
            f"{folder}: the adapter does not fit its base model: {len(strange)} weights differ, such as {strange[0]}. "
            "Check base_model_name_or_path in adapter_config.json."
        )
    model.eval()
    ids = torch.arange(24).reshape(2, 12) % backbone.config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
        merged: torch.nn.Module = model.merge_and_unload(safe_merge=True)
        got = merged(input_ids=ids, attention_mask=mask).last_hidden_state
    cosine = torch.nn.functional.cosine_similarity(expected.double(), got.double(), dim=-1)[mask.bool()].min().item()
    if not cosine >= 1 - _TOLERANCE:
        raise CheckpointError(
            f"{folder}: merged into its base model the adapter gives other token vectors than beside it (cosine "
            f"{cosine:.7f}, expected at least {1 - _TOLERANCE}). Its base model may have been quantised."
        )
    return merged
