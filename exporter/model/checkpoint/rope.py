"""Rotary positions whose frequencies follow the length of a batch: plain ones within the trained length, or refused.

Beyond it a vector would depend on how long the other texts of its batch are, and no graph can be traced.

Source: transformers, `modeling_rope_utils`: `dynamic_rope_update`, `_compute_dynamic_ntk_parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from poolfold.errors import CheckpointError

_KEPT = ("rope_theta", "partial_rotary_factor")
"""What plain rotary positions read."""


def plain_rope(config: PreTrainedConfig, limit: int, folder: Path) -> Any:
    """The configuration's `rope_parameters` with `dynamic` replaced by `default`, which gives the same frequencies.

    Args:
        config: the transformer's.
        limit: tokens of the longest text.
        folder: the checkpoint's, for messages.

    Raises:
        CheckpointError: `longrope`, or `dynamic` with a limit beyond the trained length.
    """
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return parameters
    if "rope_type" not in parameters:  # one for each kind of layer
        return {name: _plain(entry, config, limit, folder) for name, entry in parameters.items()}
    return _plain(parameters, config, limit, folder)


def _plain(parameters: Any, config: PreTrainedConfig, limit: int, folder: Path) -> Any:
    kind = parameters.get("rope_type") if isinstance(parameters, Mapping) else None
    if kind == "longrope":
        raise CheckpointError(
            f"{folder} has rope_type 'longrope', whose positions depend on the longest text of a batch, and so would "
            "its vectors. Such a checkpoint cannot be folded."
        )
    # With `alpha` the base is fixed, whatever the length: transformers computes that itself.
    if kind != "dynamic" or parameters.get("alpha"):
        return parameters
    trained = config.max_position_embeddings
    if limit > trained:
        raise CheckpointError(
            f"{folder} has rope_type 'dynamic', trained on {trained} tokens, and max_seq_length {limit}: beyond "
            f"{trained} its positions depend on the longest text of a batch, and so would its vectors. Pass "
            f"--max-seq-length {trained} or less."
        )
    return {"rope_type": "default"} | {key: parameters[key] for key in _KEPT if key in parameters}
