"""What is measured: models that take 8192 tokens and more, and a tiny one for very many texts."""

from collections.abc import Mapping

from bench.embedders.checkpoints import EMBEDDERS, Embedder

LENGTHS, FURTHER = (512, 2048, 8192), 16384
"""Tokens of one row; FURTHER of models that take as many, one call a system."""
SHORT = 16, 128, 512
"""Tokens of rows that are computed without slices in either graph."""
CORPUS = "ModernBERT-base"
MODELS: Mapping[str, Embedder] = {
    CORPUS: Embedder(
        {"model_type": "modernbert", "vocab_size": 50368, "hidden_size": 768, "intermediate_size": 1152}
        | {"num_hidden_layers": 22, "num_attention_heads": 12, "max_position_embeddings": 8192}
        | {"global_attn_every_n_layers": 3, "local_attention": 128, "pad_token_id": 1},
        pooling="cls",
        limit=8192,
    ),
    **{name: EMBEDDERS[name] for name in ("bge-m3", "Qwen3-Embedding-0.6B")},
}
TINY = Embedder(
    {"model_type": "bert", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128}
    | {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 128},
    pooling="mean",
    limit=128,
)
