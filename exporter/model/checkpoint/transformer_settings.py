"""What sentence-transformers adds to a transformer: the length limit, lower-casing, and what it takes from the output.

Every setting is honoured or refused: one that is skipped changes vectors in silence.

Source: sentence-transformers, `Transformer.load_config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.model.checkpoint.json_object import read_optional_object
from poolfold.errors import CheckpointError

_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""The library takes the first that exists; the later names come from its earliest releases."""

_TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
_OUTPUTS = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
_REFUSED = ("processing_kwargs", "query_length", "document_length", "query_expansion", "tokenizer_name_or_path")
_ARGUMENTS = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs")
_HARMLESS_ARGUMENTS = {
    "add_pooling_layer",
    "attn_implementation",
    "device_map",
    "dtype",
    "low_cpu_mem_usage",
    "torch_dtype",
    "trust_remote_code",
    "use_fast",
    "use_safetensors",
}
"""How to load, not what to compute."""


@dataclass(frozen=True)
class TransformerSettings:
    """`max_seq_length` is in tokens, None where it is not said."""

    max_seq_length: int | None
    do_lower_case: bool


def read_transformer_settings(folder: Path) -> TransformerSettings:
    """Read sentence_bert_config.json, or an older name of it; nothing is set where there is none.

    Raises:
        CheckpointError: it asks for something other than the last hidden state of a text, or sets what cannot be kept.
    """
    path = next((folder / name for name in _FILES if (folder / name).is_file()), folder / _FILES[0])
    settings = read_optional_object(path)
    _check_output(settings, path)
    for key in _REFUSED:
        if settings.get(key):
            raise CheckpointError(f"{path} sets {key} to {settings[key]!r}, which poolfold cannot keep. Remove it.")
    for key in _ARGUMENTS:
        arguments = settings.get(key) or {}
        if not isinstance(arguments, dict) or arguments.keys() - _HARMLESS_ARGUMENTS:
            raise CheckpointError(
                f"{path} sets {key} to {arguments!r}, which poolfold does not pass on. Save the model with these "
                "settings in config.json or tokenizer_config.json instead."
            )
    limit = settings.get("max_seq_length")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise CheckpointError(f"{path} has max_seq_length {limit!r}; expected a number of tokens.")
    lower = settings.get("do_lower_case", False)
    if not isinstance(lower, bool):
        raise CheckpointError(f"{path} has do_lower_case {lower!r}; expected true or false.")
    return TransformerSettings(limit, lower)


def _check_output(settings: dict[str, Any], path: Path) -> None:
    """Check that a text gives its last hidden state."""
    for key, expected in _OUTPUTS.items():
        if settings.get(key, expected) != expected:
            raise CheckpointError(
                f"{path} has {key} {settings[key]!r}; expected {expected!r}. Only text embedding models can be folded."
            )
    modalities = settings.get("modality_config", {"text": _TEXT})
    # A chat template adds "message" beside "text"; a plain text is still read as "text".
    if not isinstance(modalities, dict) or modalities.keys() - {"message"} != {"text"} or modalities["text"] != _TEXT:
        raise CheckpointError(
            f"{path} has modality_config {modalities!r}; expected only text, by {_TEXT!r}. "
            "Only text embedding models can be folded."
        )
