"""What config_sentence_transformers.json says about a checkpoint as a whole: prompts, similarity, truncation.

Source: sentence-transformers, `SentenceTransformer._parse_model_config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.model.checkpoint.json_object import read_optional_object
from poolfold.errors import CheckpointError

_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


@dataclass(frozen=True)
class LibraryConfig:
    """`truncate_dim` counts the dimensions kept of the finished vector, None for all."""

    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity: str
    truncate_dim: int | None


def read_library_config(folder: Path) -> LibraryConfig:
    """Read config_sentence_transformers.json; the library's defaults where there is none.

    Raises:
        CheckpointError: the model is not a SentenceTransformer, or a value is malformed.
    """
    path = folder / "config_sentence_transformers.json"
    config = read_optional_object(path)
    kind = config.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise CheckpointError(
            f"{path} says the model is a {kind!r}; expected a SentenceTransformer: one vector per text."
        )
    named = config.get("prompts") or {}
    if not isinstance(named, dict) or not all(isinstance(text, str | None) for text in named.values()):
        raise CheckpointError(f"{path} has prompts {named!r}; expected a text for each name.")
    # The library writes null for a prompt whose name it knows and whose text it does not.
    prompts = {name: text for name, text in named.items() if text is not None}
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CheckpointError(f"{path} has default_prompt_name {default!r}; expected one of {sorted(prompts)}.")
    similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in _SIMILARITIES:
        raise CheckpointError(
            f"{path} has similarity_fn_name {similarity!r}; expected one of {', '.join(_SIMILARITIES)}."
        )
    truncate = config.get("truncate_dim")
    if truncate is not None and (type(truncate) is not int or truncate < 1):
        raise CheckpointError(f"{path} has truncate_dim {truncate!r}; expected a positive number.")
    return LibraryConfig(prompts, default, similarity, truncate)
