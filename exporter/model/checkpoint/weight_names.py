"""Hold the names of stored weights against the names of a model's own: what lies in front of them, what is no float.

Names and dtypes only: no tensor is read, and no architecture is known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from poolfold.errors import CheckpointError

FLOATS = ("float64", "float32", "float16", "bfloat16")
"""The dtypes in which weights are numbers; any other holds codes of a quantisation."""

_PROJECTION = re.compile(r"(?:(?:\w+_)?proj(?:ection)?|linear)\.")


def require_floats(folder: Path, dtypes: Mapping[str, str], own: Collection[str]) -> None:
    """Refuse weights that are stored as codes, whether or not config.json still tells of their quantisation.

    Buffers that are integers, such as positions, are no weights and pass.

    Args:
        folder: the checkpoint's, for messages.
        dtypes: the dtype of each stored tensor, as PyTorch calls it, by name.
        own: names of the model's parameters.

    Raises:
        CheckpointError: one stands where a model has floats: under a parameter's name or as a `.weight`, or, packed
            under another name, in the module of a parameter that is missing.
    """
    stored = {_own_part(name, own) for name in dtypes}
    without = {name.rpartition(".")[0] for name in own if name not in stored}
    for name, dtype in sorted(dtypes.items()):
        if dtype in FLOATS:
            continue
        parts = name.split(".")[:-1]
        packed = any(".".join(parts[start:]) in without for start in range(len(parts)))
        if packed or name.endswith(".weight") or _own_part(name, own) is not None:
            raise CheckpointError(
                f"{folder}: {name} is stored as {dtype}; expected one of {', '.join(FLOATS)}. This is a quantised "
                "checkpoint, whose codes are not the weights. Export the checkpoint that it was quantised from."
            )


def common_prefix(folder: Path, stored: Iterable[str], own: Collection[str]) -> str:
    """What stands in front of the model's own names, such as `base_model.model.`; empty where nothing does.

    Args:
        folder: the checkpoint's, for messages.
        stored: names in the weights files.
        own: names of the model's parameters.

    Raises:
        CheckpointError: two prefixes each hold most of a model.
    """
    prefixes = Counter(
        name.removesuffix(part) for name in stored if (part := _own_part(name, own)) is not None
    ).most_common(2)
    if not prefixes:
        return ""
    (best, count), (other, others) = (*prefixes, ("", 0))[:2]
    if 2 * others > count:
        raise CheckpointError(
            f"{folder} holds two models: the names of {count} weights begin with {best!r}, of {others} with {other!r}. "
            "Save the one to export in a folder of its own."
        )
    return best


def projections(names: Iterable[str]) -> list[str]:
    """Those of the names of weights outside a model that belong to a projection behind it: of CLIP, CLAP, ColBERT."""
    return sorted(name for name in names if _PROJECTION.match(name))


def _own_part(name: str, own: Collection[str]) -> str | None:
    """The longest ending of a stored name that is one of the model's own names."""
    parts = name.split(".")
    return next((part for start in range(len(parts)) if (part := ".".join(parts[start:])) in own), None)
