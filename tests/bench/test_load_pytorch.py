import numpy as np
import pytest
import torch

from bench import load_pytorch
from bench.goals import LIMITS, smallest_cosine
from exporter.model.checkpoint.read import read_spec
from exporter.model.pytorch import Reference, load_backbone
from exporter.spec.model import Source
from graphs.pooling.strategy import parse_strategy
from tests.models import tiny_checkpoint

LENGTHS = np.array([5, 1, 3])
MASK = (np.arange(5) < LENGTHS[:, None]).astype(np.int64)
IDS = np.where(MASK == 1, np.arange(5, 20).reshape(3, 5), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("torch") / "tiny")


def loaded(folder, strategy, dtype="fp32"):
    return load_pytorch.load_on(str(folder), strategy, dtype, "cpu", compiled=False, threads=torch.get_num_threads())


@pytest.mark.parametrize("strategy", ["cls", "mean"])
def test_in_fp32_it_is_the_projects_reference(folder, strategy):
    spec = read_spec(Source("tiny", folder, None))
    modes = parse_strategy(strategy)
    exact = Reference(load_backbone(spec), spec.head).embed(IDS, MASK, (modes,))[modes]
    vectors = loaded(folder, strategy)(IDS, MASK)
    assert vectors.dtype == np.float32
    assert smallest_cosine([vectors], [exact]) >= LIMITS["fp32"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_other_strategy_is_not(folder):
    assert smallest_cosine([loaded(folder, "cls")(IDS, MASK)], [loaded(folder, "mean")(IDS, MASK)]) < 0.99


def test_half_precision_is_half_precision(folder):
    exact, half = loaded(folder, "mean")(IDS, MASK), loaded(folder, "mean", "fp16")(IDS, MASK)
    assert half.dtype == np.float32
    assert LIMITS["fp16"] <= smallest_cosine([half], [exact])
    assert np.abs(half - exact).max() > 1e-6, "fp32 in disguise"
