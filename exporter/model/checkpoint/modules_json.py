"""The modules of a sentence-transformers checkpoint, in order: which they are and where they lie.

Knows the library's class paths, old and new, and which orders make a sentence embedding; not what a module's own
configuration says.

Source: sentence-transformers, `BaseModel._load_modules` and the table of moved classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from exporter.model.checkpoint.json_object import read_objects
from poolfold.errors import CheckpointError

_CLASS = re.compile(
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)(?:\.[a-z_A-Z]+)?\.(\w+)"
)


class ModuleKind(StrEnum):
    """The modules that fold into a graph, by class name."""

    TRANSFORMER = "Transformer"
    STATIC = "StaticEmbedding"
    """A table of token vectors and their mean."""
    POOLING = "Pooling"
    DENSE = "Dense"
    NORMALIZE = "Normalize"
    DROPOUT = "Dropout"
    """The identity at inference."""


@dataclass(frozen=True)
class Module:
    """One entry of modules.json; `folder` is absolute."""

    kind: ModuleKind
    folder: Path


def read_modules(folder: Path) -> tuple[Module, ...]:
    """Read modules.json: a Transformer and a Pooling, or a StaticEmbedding; then any of the others.

    Raises:
        CheckpointError: an unknown module, a folder outside the checkpoint, or another order.
    """
    path = folder / "modules.json"
    modules = tuple(_module(entry, path) for entry in read_objects(path))
    kinds = [module.kind for module in modules]
    order = " -> ".join(kinds) or "no module"
    expected = "Expected Transformer -> Pooling or StaticEmbedding, then any of Dense, Normalize and Dropout."
    first = 1 if kinds[:1] == [ModuleKind.STATIC] else 2
    if first == 2 and kinds.count(ModuleKind.POOLING) == 0:
        raise CheckpointError(
            f"{path} lists {order}, without a Pooling. {expected} Remove modules.json to read the folder as a plain "
            "transformers checkpoint, and name the strategy with --pooling."
        )
    if first == 2 and kinds[:2] != [ModuleKind.TRANSFORMER, ModuleKind.POOLING]:
        raise CheckpointError(f"{path} lists {order}. {expected}")
    if again := {ModuleKind.TRANSFORMER, ModuleKind.POOLING, ModuleKind.STATIC} & set(kinds[first:]):
        raise CheckpointError(f"{path} lists {order}, with {' and '.join(sorted(again))} out of place. {expected}")
    return modules


def check_names(config: dict[str, Any], path: Path) -> None:
    """Check that a module after the pooling reads and writes the sentence embedding.

    Raises:
        CheckpointError: it reads or writes something else, such as token vectors.
    """
    read = config.get("module_input_name") or "sentence_embedding"
    written = config.get("module_output_name") or read
    if (read, written) != ("sentence_embedding", "sentence_embedding"):
        raise CheckpointError(
            f"{path} reads {read!r} and writes {written!r}; only modules from sentence_embedding to sentence_embedding "
            "can be folded. This checkpoint is not a plain sentence embedding model."
        )


def _module(entry: dict[str, Any], path: Path) -> Module:
    name, place = entry.get("type"), entry.get("path")
    if not isinstance(name, str) or not isinstance(place, str):
        raise CheckpointError(f"{path} has an entry without type or path: {entry}. Restore the file.")
    match = _CLASS.fullmatch(name)
    if match is None or match[1] not in set(ModuleKind):
        raise CheckpointError(
            f"{path} lists the module {name!r}, which cannot be folded. "
            f"Supported: {', '.join(ModuleKind)} of sentence_transformers."
        )
    if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts or "\\" in place:
        raise CheckpointError(f"{path} places {name!r} at {place!r}. Expected a folder inside the checkpoint.")
    return Module(ModuleKind(match[1]), path.parent / place)
