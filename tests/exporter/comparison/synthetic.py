"""Models whose better pooling is known by construction, and pairs that tell.

A letter stands for a topic; each topic has six. The first text of a pair is written with a topic's first three letters,
the second with its last three, so that two texts on one topic share no letter. A model of one layer gives a letter two
halves: its topic, and noise of its own.

`cls_model`: attention spreads topics evenly over all tokens, and [CLS] has no noise of its own: its vector is the mean
of the topics. The other tokens' noise drowns theirs, and a mean over tokens with it.
`mean_model`: no attention and no noise. The mean over tokens is the mean of the topics; [CLS] is always the same.
"""

from __future__ import annotations

import random
import string
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tests.architectures import HIDDEN
from tests.models import tiny_checkpoint

TOPICS = 8
LETTERS = 6
_HALF = HIDDEN // 2


def cls_model(folder: Path, pooling: str = "mean") -> Path:
    return _model(folder, pooling, noise=20.0, attention=4.0)


def mean_model(folder: Path, pooling: str = "mean") -> Path:
    return _model(folder, pooling, noise=0.0, attention=0.0)


def pairs_file(path: Path, count: int = 120, columns: str = "sentence1\tsentence2\tscore") -> Path:
    rng = random.Random(0)
    lines = [columns]
    for _ in range(count):
        first = rng.sample(range(TOPICS), 2)
        shared = rng.choice([0, 1, 2])
        others = [topic for topic in range(TOPICS) if topic not in first]
        second = first[:shared] + rng.sample(others, 2 - shared)
        lines.append(f"{_text(rng, first, 0)}\t{_text(rng, second, 3)}\t{shared / 2}")
    path.write_text("\n".join(lines) + "\n")
    return path


def _text(rng: random.Random, topics: list[int], start: int) -> str:
    letters = [string.ascii_letters[topic * LETTERS + start + rng.randrange(3)] for topic in topics for _ in range(4)]
    rng.shuffle(letters)
    return " ".join(letters)


def _model(folder: Path, pooling: str, *, noise: float, attention: float) -> Path:
    tiny_checkpoint(folder, pooling=pooling, config={"num_hidden_layers": 1})
    path = folder / "model.safetensors"
    weights = {name: torch.zeros_like(value) for name, value in load_file(path).items()}
    for name, value in weights.items():
        if name.endswith("LayerNorm.weight"):
            value.fill_(1.0)
    generator = torch.Generator().manual_seed(0)
    embeddings = weights["embeddings.word_embeddings.weight"]
    embeddings.normal_(generator=generator)
    topics = _centred(torch.randn(TOPICS, _HALF, generator=generator))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for place, letter in enumerate(string.ascii_letters[: TOPICS * LETTERS]):
        row = embeddings[tokenizer.token_to_id(letter)]
        row[:_HALF] = topics[place // LETTERS]
        row[_HALF:] = noise * _centred(torch.randn(1, _HALF, generator=generator))[0]
    for special in ("[CLS]", "[SEP]"):
        row = embeddings[tokenizer.token_to_id(special)]
        row[:_HALF], row[_HALF:] = 0.0, torch.linspace(-1, 1, _HALF)
    layer = "encoder.layer.0.attention"
    weights[f"{layer}.self.value.weight"][:_HALF, :_HALF] = torch.eye(_HALF) * attention
    weights[f"{layer}.output.dense.weight"][:] = torch.eye(HIDDEN)
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def _centred(rows: torch.Tensor) -> torch.Tensor:
    """Mean 0 and length 1, so that a norm over both halves moves nothing from the one to the other."""
    rows = rows - rows.mean(dim=1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True)
