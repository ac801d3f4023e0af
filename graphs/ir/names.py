"""The names of a graph's inputs and outputs.

Source: the exports of optimum and sentence-transformers use the same names, so other programs can load the graphs.
"""

from __future__ import annotations

import onnx_ir as ir

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
TOKEN_TYPE_IDS = "token_type_ids"
POSITION_IDS = "position_ids"
PROMPT_STATES = "prompt_states"
"""Input of the prompted form, float32 [2 * attentions, heads, prompt, head]: keys and values of a prompt."""
TOKEN_POSITIONS = "token_positions"
"""Input of the packed form, int64 [1, tokens]: the index of each token in the flattened batch."""
LAST_HIDDEN_STATE = "last_hidden_state"
SENTENCE_EMBEDDING = "sentence_embedding"


def scores_name(node: ir.Node) -> str:
    """The name under which `tensor_ranges` lists the scores of an Attention node."""
    return f"{node.name}.scores"
