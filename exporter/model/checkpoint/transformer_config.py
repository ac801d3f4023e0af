"""Read the configuration of the transformer, and refuse what cannot be an encoder of text.

Knows transformers' configurations, not its models: nothing is built here.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from exporter.host.quiet import quiet_transformers
from exporter.model.checkpoint.author_dialect import check_author_dialect
from exporter.model.checkpoint.json_object import read_object
from poolfold.errors import CheckpointError

ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel"}
"""Encoder-decoders whose encoder embeds, by the class of transformers that is the encoder alone.

Source: sentence-transformers, `Transformer._load_encoder_only_model`.
"""

_WIDTHS = {"embedding_gemma2_text": "embedding_dim"}
"""Where a token vector ends up with another size than hidden_size."""

_WINDOWS = ("sliding_window", "local_attention")
_USUAL_HEADS = 16


def load_config(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """Load config.json.

    Raises:
        CheckpointError: it is missing or malformed, needs remote code that is not allowed, is a quantised model's, an
            encoder-decoder's or one with a projection behind it, or asks for what transformers does not compute.
    """
    path = folder / "config.json"
    fields = read_object(path)
    model_type = fields.get("model_type")
    if not isinstance(model_type, str):
        raise CheckpointError(f"{path} has no model_type. Restore the file, or download the checkpoint again.")
    if model_type not in CONFIG_MAPPING and not trust_remote_code:
        raise CheckpointError(
            f"{path} has model_type {model_type!r}, whose code comes with the checkpoint. "
            "Read that code, then pass --trust-remote-code to run it."
            if fields.get("auto_map")
            else f"{path} has model_type {model_type!r}, which this transformers does not know. Upgrade transformers."
        )
    try:
        with quiet_transformers():
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
    except (OSError, ValueError, TypeError, KeyError, ImportError, StrictDataclassError) as error:
        raise CheckpointError(f"{path} is not a configuration that transformers can read: {error}") from error
    decodes = config.is_encoder_decoder or any(hasattr(config, n) for n in ("num_decoder_layers", "decoder_layers"))
    if decodes and model_type not in ENCODERS:
        raise CheckpointError(
            f"{path} is an encoder-decoder ({model_type}), which is not supported; expected an encoder, a decoder, or "
            f"one of {', '.join(ENCODERS)}, whose encoder is taken."
        )
    if projected := [name for name in config.architectures or () if "WithProjection" in name]:
        raise CheckpointError(
            f"{path} is a {projected[0]}: its vectors come from a projection behind the pooling, which a "
            f"{model_type} alone does not compute. Save the model by sentence-transformers, the projection as a Dense "
            "module, with config.json's architectures set to the model without it, and export that folder."
        )
    if getattr(config, "quantization_config", None):
        raise CheckpointError(f"{path} is a quantised model. Export the checkpoint it was quantised from.")
    if getattr(config, "attention_type", None) == "block_sparse":
        raise CheckpointError(
            f"{path} has attention_type 'block_sparse', by which a vector depends on how long its batch is. "
            "Set it to 'original_full': the same weights, and every token sees every other."
        )
    if not trust_remote_code:
        check_author_dialect(config, path)
    return config


def hidden_size(config: PreTrainedConfig) -> int:
    """How many values a token vector has.

    Raises:
        CheckpointError: the configuration does not say.
    """
    return size(config, _WIDTHS.get(config.model_type, "hidden_size"))


def attention_heads(config: PreTrainedConfig) -> int:
    """Heads of an attention layer; as many as most have where the configuration does not say."""
    heads = getattr(config, "num_attention_heads", None)
    return heads if isinstance(heads, int) and heads > 0 else _USUAL_HEADS


def attention_window(config: PreTrainedConfig) -> int | None:
    """Tokens that the attention of some layers sees at most, on either side or on both; None where all see all."""
    kinds = getattr(config, "layer_types", None)
    if kinds and all(kind == "full_attention" for kind in kinds):
        return None
    widths = [getattr(config, name, None) for name in _WINDOWS]
    return max((width for width in widths if isinstance(width, int) and width > 0), default=None)


def matryoshka_dimensions(config: PreTrainedConfig) -> tuple[int, ...]:
    """Lengths of vectors that the configuration says the model was trained for; none where it says nothing."""
    lengths = getattr(config, "matryoshka_dimensions", None)
    if not isinstance(lengths, list):
        return ()
    return tuple(length for length in lengths if isinstance(length, int) and length > 0)


def size(config: PreTrainedConfig, name: str) -> int:
    """A positive whole number of the configuration, such as hidden_size, under the name that this model gives it.

    Raises:
        CheckpointError: it is not there.
    """
    value = getattr(config, name, None)
    if value is None and getattr(config, "text_config", None) is not None:
        raise CheckpointError(
            f"This {config.model_type} reads more than text: its {name} stands in text_config. Expected a model of "
            f"text. Save the {config.text_config.model_type} in it alone, with text_config as its config.json, and "
            "export that folder."
        )
    if not isinstance(value, int) or value < 1:
        raise CheckpointError(
            f"The configuration of this {config.model_type} has {name} {value!r}; expected a positive number. "
            "Only text encoders can be exported."
        )
    return value
