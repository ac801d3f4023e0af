"""The names of a graph's inputs and output, and the values of the inputs for a batch.

The exporter writes these names (graphs/ir/names.py); optimum and sentence-transformers use the same. Independent of
runtimes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError
from poolfold.manifest import EMBEDDING
from poolfold.sessions.packing import token_positions

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
TOKEN_TYPE_IDS = "token_type_ids"
TOKEN_POSITIONS = "token_positions"
PROMPT_STATES = "prompt_states"
LAST_HIDDEN_STATE = "last_hidden_state"
SENTENCE_EMBEDDING = EMBEDDING.name

_REQUIRED = {INPUT_IDS, ATTENTION_MASK}


def require_names(path: Path, inputs: Collection[str], outputs: Collection[str], *, optional: Sequence[str]) -> None:
    """Check the names of a loaded graph.

    Args:
        path: the graph's file, for the message.
        inputs: names of the graph's inputs.
        outputs: names of the graph's outputs.
        optional: inputs that the graph may have beside `input_ids` and `attention_mask`.

    Raises:
        ArtifactError: an input is missing or unexpected, or there is no output `sentence_embedding`.
    """
    names = set(inputs)
    if not names >= _REQUIRED or names - _REQUIRED - set(optional) or SENTENCE_EMBEDDING not in outputs:
        raise ArtifactError(
            f"{path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}; expected {INPUT_IDS}, {ATTENTION_MASK} "
            f"and perhaps {' and '.join(optional)}, and {SENTENCE_EMBEDDING}. Export the model again."
        )


def make_inputs(
    names: Collection[str], input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.int64]]:
    """The inputs of a graph for a batch int64 [batch, seq], by name.

    Returns:
        input_ids and attention_mask; those of `names` that are computed from them: token_type_ids, zeros
        [batch, seq], and token_positions [1, tokens].
    """
    feeds = {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
    if TOKEN_TYPE_IDS in names:
        feeds[TOKEN_TYPE_IDS] = np.zeros_like(input_ids)
    if TOKEN_POSITIONS in names:
        feeds[TOKEN_POSITIONS] = token_positions(attention_mask)
    return feeds


def behind(
    feeds: Mapping[str, npt.NDArray[np.int64]], prompt_states: npt.NDArray[np.float32] | None
) -> Mapping[str, npt.NDArray[np.int64] | npt.NDArray[np.float32]]:
    """The inputs with the states of a prompt, where these are given."""
    return feeds if prompt_states is None else {**feeds, PROMPT_STATES: prompt_states}
