"""How many tokens a checkpoint takes: what it says, within what its position table holds.

A limit beyond the table would be an index out of range on the first long text.

Source: sentence-transformers, `Transformer.__init__`; for tables that start behind the padding index, transformers,
`RobertaEmbeddings`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from transformers import PreTrainedConfig

from poolfold.errors import CheckpointError

log = logging.getLogger(__name__)

_TABLE = re.compile(r"(?:.*\.)?(?:position_embeddings|embed_positions|wpe)\.weight")

OFFSET_TYPES = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
"""Models whose first token has position pad_token_id + 1, so that as many rows of the table are never used."""


def max_seq_length(
    config: PreTrainedConfig,
    shapes: Mapping[str, tuple[int, ...]],
    stated: int | None,
    tokenizer_limit: int | None,
    longest: int | None = None,
) -> int:
    """The longest sequence, in tokens, special tokens included.

    Args:
        config: the transformer's configuration.
        shapes: shapes of its weights by name; empty where they are pickled.
        stated: sentence-transformers' own limit; it wins over the next.
        tokenizer_limit: the tokenizer's.
        longest: what the user wants; it only lowers the limit, and is one where nothing else says any.

    Raises:
        CheckpointError: nothing says a limit.
    """
    context = _positive(config, "max_position_embeddings")
    limits = [limit for limit in (tokenizer_limit, context) if limit is not None] if stated is None else [stated]
    # T5 has no such limit, and writes the length it was trained on.
    if not limits and (trained_on := _positive(config, "n_positions")) is not None:
        limits = [trained_on]
    limits += [] if longest is None else [longest]
    if not limits:
        raise CheckpointError(
            f"Nothing says how many tokens this {config.model_type} takes: neither sentence_bert_config.json, nor "
            "model_max_length of the tokenizer, nor max_position_embeddings. Pass --max-seq-length."
        )
    limit = min(limits)
    capacity = _capacity(config, shapes, context)
    if capacity is None or limit <= capacity:
        return limit
    if capacity < 1:
        raise CheckpointError(f"The position table of this {config.model_type} holds no token. Restore the checkpoint.")
    asked = longest or stated or tokenizer_limit
    if asked is not None and asked > capacity:
        log.warning("max_seq_length %d is beyond the position table; texts are cut at %d tokens", asked, capacity)
    return capacity


def _positive(config: PreTrainedConfig, name: str) -> int | None:
    """A length that the configuration says; xlnet says -1 for none."""
    value = getattr(config, name, None)
    return value if isinstance(value, int) and value > 0 else None


def _capacity(config: PreTrainedConfig, shapes: Mapping[str, tuple[int, ...]], context: int | None) -> int | None:
    """Tokens that the position table holds; None without a table, as with rotary positions."""
    rows = [shape[0] for name, shape in shapes.items() if _TABLE.fullmatch(name)]
    if shapes and not rows:
        return None
    sizes = rows if context is None else [*rows, context]
    offset = int(config.pad_token_id or 0) + 1 if config.model_type in OFFSET_TYPES else 0
    return min(sizes) - offset if sizes else None
