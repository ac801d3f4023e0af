"""A LoRA adapter beside or over a base model: where the base lies, and which of its modules the adapter changes.

Reads files only; `exporter/model/merge_adapter` computes.

Source: peft, `PeftConfig`, the names in adapter_model.safetensors.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from exporter.model.checkpoint.json_object import read_object
from exporter.model.checkpoint.source import FILES, OTHER_FORMATS, TRANSFORMER_WEIGHTS
from exporter.model.checkpoint.weight_files import header_dtypes
from exporter.model.checkpoint.weight_names import require_floats
from poolfold.errors import CheckpointError, how_to_install
from poolfold.hub import download

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MERGE = "Merge it into its base model, save that, and export it."


def base_folder(folder: Path, *, weights: bool = True) -> Path | None:
    """Where the base model of an adapter lies: in its folder, another one, or on the hub; None without an adapter.

    From the hub it comes without its weights where `weights` is false.

    Raises:
        CheckpointError: an adapter of another kind than LoRA, without weights or with quantised ones; the base model is
            not at hand, or peft is not.
    """
    if not (folder / CONFIG).is_file():
        return None
    config = read_object(folder / CONFIG)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(
            f"{folder} holds an adapter of the kind {kind!r}; expected LORA. {_MERGE[3:].capitalize()}"
        )
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder} holds an adapter without {WEIGHTS}. Restore the file. {_MERGE}")
    dtypes = header_dtypes(folder / WEIGHTS)
    require_floats(folder, dtypes, dtypes)
    base = _base(folder, config, weights)
    if importlib.util.find_spec("peft") is None:
        raise CheckpointError(
            f"{folder} holds an adapter ({CONFIG}) over {base.name}, and peft, which merges it, is not installed: "
            f"{how_to_install('lora')}. {_MERGE}"
        )
    return base


def _base(folder: Path, config: dict[str, Any], weights: bool) -> Path:
    has_weights = any(path.name != WEIGHTS for path in folder.glob("*.safetensors"))
    if (folder / "config.json").is_file() and has_weights:
        return folder
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(f"{folder / CONFIG} has no base_model_name_or_path. Restore the file. {_MERGE}")
    for place in (folder / name, Path(name).expanduser()):
        if (place / "config.json").is_file():
            return place.resolve()
    try:
        ignore = OTHER_FORMATS if weights else (*OTHER_FORMATS, *TRANSFORMER_WEIGHTS)
        return download(name, config.get("revision"), FILES, ignore=ignore, error=CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} holds an adapter over {name}. {error}") from error
