"""A tiny BERT, exported once for all tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers import BertConfig, BertModel


@dataclass(frozen=True)
class Exported:
    """A raw export, as torch leaves it; `model` gives a fresh clone."""

    raw: ir.Model
    input_ids: np.ndarray
    attention_mask: np.ndarray
    hidden: np.ndarray

    def model(self) -> ir.Model:
        return self.raw.clone()

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}


class _Encoder(torch.nn.Module):
    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


@pytest.fixture(scope="session")
def tiny_bert() -> Exported:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    encoder = _Encoder(BertModel(config)).eval()
    ids = torch.randint(1, 50, (4, 12))
    mask = (torch.arange(12) < torch.tensor([[12], [7], [3], [1]])).long()
    axes = {0: "batch", 1: "seq"}
    program = torch.onnx.export(
        encoder,
        (ids, mask),
        dynamo=True,
        opset_version=23,
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_shapes=(axes, axes),
        optimize=False,
        verbose=False,
    )
    with torch.no_grad():
        hidden = encoder(ids, mask).numpy()
    return Exported(program.model, ids.numpy(), mask.numpy(), hidden)
