"""Prompts whose tokens the pooling leaves out: sentence-transformers' vectors, in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

import poolfold
from exporter.pipeline import recipes
from exporter.spec.model import DType
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import Strategy
from poolfold.errors import CheckFailed, InputError
from poolfold.load import open_encoder
from poolfold.verify import verify
from tests.conftest import EVERY_MODE, export_here
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

TEXTS = ["one", "two words", "", "a longer text, with punctuation; and Ünïcödé 你好 🙂", "x " * 500]
PROMPTS = {"query": "the query: ", "document": ""}
OTHER = "represent this"


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoint and artifact; qwen3 pads left."""
    folder = tmp_path_factory.mktemp(request.param)
    options: dict[str, Any] = {"pooling": "mean", "include_prompt": False, "prompts": PROMPTS, "normalize": False}
    tiny_checkpoint(folder / "model", architecture=request.param, **options)
    targets = ("onnxruntime", "openvino", "tensorrt-rtx")
    export_here(folder / "model", folder / "out", pooling=EVERY_MODE, targets=targets, dtypes=(DType.FP32, DType.FP16))
    return folder / "model", folder / "out"


@pytest.mark.parametrize("prompt", [{"prompt_name": "query"}, {"prompt": OTHER}, {"prompt": ""}, {"prompt": "a"}])
@pytest.mark.parametrize("mode", EVERY_MODE)
def test_every_mode_gives_sentence_transformers_vectors(
    made: tuple[Path, Path], mode: str, prompt: dict[str, str]
) -> None:
    checkpoint, artifact = made
    model = SentenceTransformer(str(checkpoint), device="cpu", local_files_only=True)
    next(module for module in model if isinstance(module, Pooling)).pooling_mode = mode
    expected = model.encode(TEXTS, **prompt)
    manifest = verify(artifact)
    for target, form in (("onnxruntime", "plain"), ("onnxruntime", "padding-free"), ("openvino", "plain")):
        with open_encoder(artifact, manifest, mode, target, form=form) as encoder:
            np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=3, **prompt), expected, atol=2e-5, rtol=1e-4)


def test_a_mask_without_a_2_is_pooled_whole_as_by_any_other_client(made: tuple[Path, Path]) -> None:
    with poolfold.load(made[1], strategy="mean") as encoder:
        assert encoder.model.text.include_prompt is False
        left_out = encoder.tokenizer.left_out(OTHER)
        ids = np.array(encoder.tokenizer.ids([OTHER + " a river"]))
        mask = np.ones_like(ids)
        whole = encoder.embed(ids, mask)
        np.testing.assert_allclose(whole, encoder.encode([OTHER + " a river"], prompt=""), atol=1e-6)
        mask[:, :left_out] = 2
        apart = encoder.embed(ids, mask)
        np.testing.assert_allclose(apart, encoder.encode([" a river"], prompt=OTHER), atol=1e-6)
        assert np.abs(apart - whole).max() > 1e-2
        for wrong, message in (
            (3, r"expected \[0, 3\): 1 for a token, 2 for one of the prompt"),
            (2, "marks no token"),
        ):
            with pytest.raises(InputError, match=message):
                encoder.embed(ids, np.full_like(ids, wrong))


def test_a_prompt_that_leaves_no_place_for_a_text_is_refused(made: tuple[Path, Path]) -> None:
    with (
        poolfold.load(made[1]) as encoder,
        pytest.raises(InputError, match=r"the prompt \(.*\) takes all 64 tokens.*Use a shorter one"),
    ):
        encoder.encode(["one"], prompt="query " * 100)


def test_a_graph_that_pools_the_prompt_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Everything(FoldPoolingPass):
        def __init__(self, strategy: Strategy, **_: bool) -> None:
            super().__init__(strategy, prompt_apart=False)

    monkeypatch.setattr(recipes, "FoldPoolingPass", Everything)
    folder = tiny_checkpoint(tmp_path / "model", include_prompt=False)
    with pytest.raises(CheckFailed, match="does not give PyTorch's vectors"):
        export_here(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
