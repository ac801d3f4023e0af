"""What a Pooling module's configuration says, in both dialects.

Up to 5.3 a boolean key per mode, concatenated in a fixed order; from 5.4 on `pooling_mode`, a name or a list in order.
Never a default: the library takes the mean where no boolean is true, and a checkpoint that says so is refused here.

Source: sentence-transformers, `Pooling.load_config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.model.checkpoint.json_object import read_object
from graphs.pooling.strategy import PoolingMode, Strategy
from poolfold.errors import CheckpointError

_BOOLEANS = {
    "pooling_mode_cls_token": PoolingMode.CLS,
    "pooling_mode_max_tokens": PoolingMode.MAX,
    "pooling_mode_mean_tokens": PoolingMode.MEAN,
    "pooling_mode_mean_sqrt_len_tokens": PoolingMode.MEAN_SQRT_LEN_TOKENS,
    "pooling_mode_weightedmean_tokens": PoolingMode.WEIGHTEDMEAN,
    "pooling_mode_lasttoken": PoolingMode.LASTTOKEN,
}
"""In the order of concatenation."""


@dataclass(frozen=True)
class PoolingConfig:
    """A Pooling module. `dimension` counts the values of a token vector."""

    strategy: Strategy
    dimension: int
    include_prompt: bool


def read_pooling(folder: Path) -> PoolingConfig:
    """Read a Pooling module's config.json.

    Raises:
        CheckpointError: it names no mode, an unknown one, one twice, or different ones in the two dialects.
    """
    path = folder / "config.json"
    config = read_object(path)
    booleans = _from_booleans(config, path)
    listed = _from_list(config, path)
    if booleans is not None and listed is not None and set(booleans) != set(listed):
        raise CheckpointError(
            f"{path} contradicts itself: pooling_mode says {', '.join(listed)}, the pooling_mode_* keys say "
            f"{', '.join(booleans) or 'none'}. Correct the file, or remove one of the two."
        )
    strategy = listed or booleans
    if not strategy:
        raise CheckpointError(
            f"{path} says no pooling. Set pooling_mode to one or several of {', '.join(PoolingMode)}."
        )
    dimension = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    if not isinstance(dimension, int):
        raise CheckpointError(f"{path} has embedding_dimension {dimension!r}; expected the size of a token vector.")
    include_prompt = config.get("include_prompt", True)
    if not isinstance(include_prompt, bool):
        raise CheckpointError(f"{path} has include_prompt {include_prompt!r}; expected true or false.")
    return PoolingConfig(strategy, dimension, include_prompt)


def _from_booleans(config: dict[str, Any], path: Path) -> Strategy | None:
    """The old dialect's strategy, in its fixed order; None where the file does not speak it."""
    keys = {key: value for key, value in config.items() if key.startswith("pooling_mode_")}
    if unknown := keys.keys() - _BOOLEANS.keys():
        raise CheckpointError(
            f"{path} has the unknown key {', '.join(sorted(unknown))}. Supported modes: {', '.join(PoolingMode)}."
        )
    for key, value in keys.items():
        if not isinstance(value, bool):
            raise CheckpointError(f"{path} has {key}: {value!r}; expected true or false. Correct the file.")
    return tuple(mode for key, mode in _BOOLEANS.items() if keys.get(key)) if keys else None


def _from_list(config: dict[str, Any], path: Path) -> Strategy | None:
    """The new dialect's strategy, in the order given; None where the file does not speak it."""
    if "pooling_mode" not in config:
        return None
    value = config["pooling_mode"]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or any(name not in list(PoolingMode) for name in names):
        raise CheckpointError(
            f"{path} has pooling_mode {value!r}; expected one of {', '.join(PoolingMode)}, or a list of them."
        )
    if len(set(names)) != len(names):
        raise CheckpointError(f"{path} has pooling_mode {value!r}, with a mode twice; expected each at most once.")
    return tuple(map(PoolingMode, names))
