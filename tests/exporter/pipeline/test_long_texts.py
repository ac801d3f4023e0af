"""Texts of thousands of tokens give PyTorch's vectors, with every family's kind of attention computed in slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

import poolfold
from exporter.spec.options import Validation
from poolfold.manifest import read_manifest
from tests.architectures import Architecture
from tests.conftest import export_here
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

LIMIT = 8192
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 32}
LONG = SIZES | {"max_position_embeddings": LIMIT, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
GROUPED = LONG | {"num_key_value_heads": 1, "head_dim": 16}
SHARED = LONG | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES = [
    Architecture("bert", LONG, pooling="mean"),
    Architecture("modernbert", LONG | {"global_attn_every_n_layers": 2, "local_attention": 32}, pooling="cls"),
    Architecture("qwen3", GROUPED, pooling="lasttoken"),
    Architecture("mistral", SHARED | {"sliding_window": 700}, pooling="lasttoken"),
    Architecture("gemma3_text", GROUPED | {"sliding_window": 16, "layer_types": LAYERS}, pooling="mean"),
    Architecture(
        "gemma3_text",
        GROUPED | {"sliding_window": 600, "layer_types": LAYERS, "use_bidirectional_attention": True},
        pooling="mean",
    ),
]
"""Without a limit, windows both ways, causal, causal windows; a window of more than a slice."""
BLOCKED = {
    "bert": "",
    "modernbert": "attentions in blocks: 1",
    "qwen3": "",
    "mistral": "attentions in blocks: 2",
    "gemma3_text": "attentions in blocks: 2",
}
AROUND_SLICES = (512, 513, 1023, 1024, 1025, LIMIT - 1, LIMIT)
AROUND_BLOCKS = (159, 160, 161, 257, 1025, LIMIT - 1)
"""With a window of 32 tokens a text of 160 is one block, and with one of 600 one of 900."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.model_type}-{family.pooling}")
def test_every_length_around_a_switch_gives_pytorchs_vectors(tmp_path: Path, family: Architecture) -> None:
    folder = tiny_checkpoint(tmp_path / "m", architecture=family, pooling=family.pooling, max_seq_length=LIMIT)
    targets = ("onnxruntime", "openvino")
    export_here(folder, tmp_path / "out", threads=None, targets=targets, validation=Validation(length=600))
    (graph,) = read_manifest(tmp_path / "out").graphs
    assert set(graph.sliced) == set(graph.forms.values())
    layers = 3 if family.pooling == "mean" else 2  # of the last layer one row is computed
    assert graph.passes["sliced-attention"] == f"attentions in slices of queries: {layers}"
    assert graph.passes.get("blocked-windows", "") == BLOCKED[family.model_type]
    model = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="sdpa").eval()
    rng = np.random.default_rng(0)
    with (
        poolfold.load(tmp_path / "out", target="onnxruntime") as sliced,
        poolfold.load(tmp_path / "out", target="openvino") as blocked,
    ):
        for length in sorted({*AROUND_SLICES, *AROUND_BLOCKS}):
            ids = rng.integers(4, 100, (1, length))
            with torch.inference_mode():
                found = model(input_ids=torch.from_numpy(ids), attention_mask=torch.ones(1, length))
            hidden = found.last_hidden_state[0]
            row = {"cls": hidden[0], "mean": hidden.mean(0), "lasttoken": hidden[-1]}[family.pooling].numpy()
            expected = row / np.linalg.norm(row)
            for encoder in [sliced] * (length in AROUND_SLICES) + [blocked] * (length in AROUND_BLOCKS):
                got = encoder.embed(ids, np.ones_like(ids))[0]
                np.testing.assert_allclose(got / np.linalg.norm(got), expected, rtol=0, atol=2e-5)
