"""Checkpoints by their names on the hub: the vectors that sentence-transformers gives, or a refusal with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import poolfold
from exporter.spec.origin import TokenizerSource
from poolfold.errors import CheckpointError
from tests.conftest import export_here
from tests.exporter.model.reading import TEXTS
from tests.named_models import NAMED, named_checkpoint

pytestmark = pytest.mark.e2e

WORKING = [name for name, model in NAMED.items() if model.refused is None]
REFUSED = [name for name, model in NAMED.items() if model.refused is not None]


@pytest.mark.parametrize("name", WORKING)
def test_what_works_gives_sentence_transformers_vectors(tmp_path: Path, name: str) -> None:
    folder = named_checkpoint(tmp_path / "model", name)
    # transformers reads tokenizers of some of these by classes of its own: docs/numerics.md, "Ids".
    export_here(folder, tmp_path / "out", threads=None, tokenizer=TokenizerSource.TRANSFORMERS)
    oracle = SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
    )
    with poolfold.load(tmp_path / "out") as encoder:
        assert encoder.model.text.padding_side == NAMED[name].architecture.padding_side
        for prompt_name in (None, *(NAMED[name].prompts or ())):
            expected = oracle.encode(list(TEXTS), prompt_name=prompt_name)
            got = encoder.encode(TEXTS, prompt_name=prompt_name)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    folder = named_checkpoint(tmp_path / "model", name)
    with pytest.raises(CheckpointError, match=NAMED[name].refused):
        export_here(folder, tmp_path / "out", threads=None)


def test_the_page_lists_each_with_its_outcome() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "architectures.md").read_text().splitlines()
    for name, model in NAMED.items():
        (row,) = (line for line in lines if line.startswith(f"| {name} |"))
        assert ("refused" in row) is (model.refused is not None)
