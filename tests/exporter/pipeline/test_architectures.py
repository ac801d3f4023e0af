"""Every architecture through a whole export: sentence-transformers' vectors, on both padding sides, in any batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

import poolfold
from poolfold.tokenise import pad
from tests.architectures import ARCHITECTURES, BY_ARCHITECTURE, LAYERS, POSITIONS
from tests.conftest import EVERY_MODE, Exported
from tests.exporter.model.reading import TEXTS, embed
from tests.models import tiny_checkpoint

LENGTHS = (5, POSITIONS, 1, 20, 2)
"""Of the rows of one ragged batch, in tokens; past every window and bucket, and a single token."""


class Pair(NamedTuple):
    name: str
    oracle: SentenceTransformer
    artifact: Path


@pytest.fixture(scope="session", params=BY_ARCHITECTURE)
def pair(request: pytest.FixtureRequest, exported: Callable[[str], Exported]) -> Pair:
    folders = exported(request.param)
    oracle = SentenceTransformer(str(folders.checkpoint), device="cpu", local_files_only=True)
    return Pair(request.param, oracle, folders.artifact)


def pool_by(oracle: SentenceTransformer, mode: str) -> None:
    next(module for module in oracle if isinstance(module, Pooling)).pooling_mode = mode


def assert_same(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


def test_texts_get_sentence_transformers_vectors(pair: Pair) -> None:
    for mode in EVERY_MODE:
        pool_by(pair.oracle, mode)
        with poolfold.load(pair.artifact, strategy=mode) as encoder:
            assert_same(encoder.encode(TEXTS, batch_size=4), pair.oracle.encode(list(TEXTS), batch_size=3))


def test_ids_padded_on_either_side_do_too(pair: Pair) -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(5, 200, length).tolist() for length in LENGTHS]
    pad_token_id = ARCHITECTURES[pair.name].config["pad_token_id"]
    batches = [pad(rows, "left", pad_token_id), pad(rows, "right", pad_token_id), pad(rows[2:3], "right", pad_token_id)]
    for mode in EVERY_MODE:
        pool_by(pair.oracle, mode)
        with poolfold.load(pair.artifact, strategy=mode) as encoder:
            for batch in batches:
                features = dict(zip(("input_ids", "attention_mask"), map(torch.from_numpy, batch), strict=True))
                with torch.inference_mode():
                    expected = pair.oracle(features)["sentence_embedding"].numpy()
                assert_same(encoder.embed(*batch), expected)


def test_the_attention_of_every_layer_is_found(pair: Pair) -> None:
    graphs = poolfold.manifest.read_manifest(pair.artifact).graphs
    assert {graph.attention_layers for graph in graphs} == {LAYERS}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("mistral", {"sliding_window": None}),
        ("gemma3_text", {"sliding_window": POSITIONS}),
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("gemma3_text-bidirectional", {"sliding_window": 16}),
        ("modernbert", {"local_attention": 16}),
        ("t5", {"relative_attention_max_distance": 64}),
        ("deberta-v2", {"max_relative_positions": 512}),
        ("deberta-v2", {"pos_att_type": ["p2c"]}),
    ],
)
def test_what_sets_an_architecture_apart_shows_in_so_few_tokens(
    tmp_path: Path, name: str, config: dict[str, object]
) -> None:
    plain = embed(tiny_checkpoint(tmp_path / "a", architecture=name))
    other = embed(tiny_checkpoint(tmp_path / "b", architecture=name, config=config))
    assert np.abs(plain - other).max() > 1e-3
